"""The commands of docs/operations.md for backups while a service works: restored elsewhere, every model is verified."""

import os
import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.service import ECHO, ROOT, RunningService

pytestmark = [pytest.mark.slow, pytest.mark.skipif(shutil.which("rsync") is None, reason="rsync is not installed")]

OPERATIONS = (ROOT / "docs" / "operations.md").read_text()
STEADY, CHANGING = 12, 6


@dataclass(frozen=True)
class Program:
    """The two commands of the page that copy a folder with one program."""

    name: str
    kept: str
    """What the page calls the backup."""
    file: str
    """The backup's file in its folder; empty if the folder is the backup."""
    done: frozenset[int]
    """The exit statuses that are no failure of a backup, as the page says."""

    def run(self, number: int, models: Path, backup: Path) -> int:
        """Run the first or the second command of the page for these folders. Return its exit status."""
        found = re.findall(rf"^({self.name} (?:.*\\\n)*.*)$", OPERATIONS, re.MULTILINE)
        assert len(found) == 2
        command = found[number].replace("/data/models", '"$MODELS"').replace(self.kept, f'"$BACKUP"/{self.file}')
        environment = os.environ | {"MODELS": str(models), "BACKUP": str(backup)}
        return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, check=False).returncode


PROGRAMS = [
    Program("rsync", "backup:/models/", "", frozenset({0, 24})),
    Program("tar", "models.tar", "models.tar", frozenset({0, 1})),
]


def content(name: str, version: int) -> bytes:
    return f"{name} {version} ".encode() * 20_000


def change(service: RunningService, number: int, stop: threading.Event) -> None:
    """Replace, delete, restore, protect and create models until stopped."""
    version = 0
    while not stop.is_set():
        version += 1
        name = f"changing-{number}.bin"
        condition = {"if-match": "*"} if version > 1 else {"if-none-match": "*"}
        service.client.put(f"/models/{name}", content=content(name, version), headers=condition).raise_for_status()
        deleted = service.client.delete(f"/models/{name}").raise_for_status().json()
        service.client.post(f"/trash/{deleted['trash_id']}/restore").raise_for_status()
        service.client.put(f"/models/new-{number}-{version}.bin", content=content("new", version)).raise_for_status()


@contextmanager
def load_on(service: RunningService) -> Iterator[None]:
    """Change models by several callers while the block runs."""
    stop = threading.Event()
    with ThreadPoolExecutor(CHANGING) as callers:
        running = [callers.submit(change, service, number, stop) for number in range(CHANGING)]
        try:
            yield
        finally:
            stop.set()
        for each in running:
            each.result()


def outcomes(service: RunningService) -> dict[str, str]:
    """Verify every model and return the outcomes by name."""
    names = [model["name"] for model in service.client.get("/models?limit=1000").raise_for_status().json()["models"]]
    return {name: service.client.post(f"/models/{name}/verify").raise_for_status().json()["outcome"] for name in names}


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_a_backup_of_a_busy_folder_is_whole(serve: Serve, tmp_path: Path, program: Program) -> None:
    """Under load, each model that did not change is intact in the copy, no model is corrupt, and one flipped byte is.

    The digest of each unchanged model and the protections and the trash are kept.
    """
    service = serve(tmp_path / "original", engine_class=ECHO, max_uploads=16).wait_until_ready()
    for number in range(STEADY):
        name = f"steady-{number}.bin"
        service.client.put(f"/models/{name}", content=content(name, 0)).raise_for_status()
    service.client.put("/models/steady-0.bin/protection", json={"reason": "kept"}).raise_for_status()
    gone = service.client.delete("/models/steady-1.bin").raise_for_status().json()["trash_id"]
    copy, models = tmp_path / "backup", tmp_path / "restored" / "models"
    copy.mkdir()
    models.mkdir(parents=True)

    with load_on(service):
        for _ in range(3):  # each backup continues the last one, as a daily one does
            assert program.run(0, service.models_dir, copy) in program.done
    assert program.run(1, models, copy) == 0
    time_ns = (models / "steady-2.bin").stat().st_mtime_ns
    with (models / "steady-2.bin").open("r+b") as file:
        file.write(b"X")
    os.utime(models / "steady-2.bin", ns=(time_ns, time_ns))

    restored = serve(tmp_path / "restored", engine_class=ECHO).wait_until_ready()
    assert restored.client.delete("/models/steady-0.bin").status_code == 403
    restored.client.post(f"/trash/{gone}/restore").raise_for_status()
    found = outcomes(restored)
    steady = {name: outcome for name, outcome in found.items() if name.startswith("steady-")}
    assert steady.pop("steady-2.bin") == "corrupt"
    assert (len(steady), set(steady.values())) == (STEADY - 1, {"intact"})
    others = {outcome for name, outcome in found.items() if name not in steady and name != "steady-2.bin"}
    assert others <= {"intact", "unrecorded"}
    assert not restored.client.get("/storage").raise_for_status().json()["damaged_records"]
