"""One model folder that services of two users change, as with the setgid bit and umask 002."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.clients.answers import problem_of
from tests.support.service import ECHO, ROOT, RunningService
from tests.support.skips import ELSEWHERE
from tests.support.waiting import eventually

Run = Callable[[int, str], RunningService]
GROUP, FIRST, SECOND = 60_000, 60_001, 60_002
READS = "--inh-caps=+dac_read_search"
"""The users may read every file, since the interpreter may be below a closed folder. Writing goes by the rights."""

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason=f"{ELSEWHERE}only root can run a service as another user",
)


def as_user(uid: int, umask: str) -> tuple[str, ...]:
    """Return a wrapper that runs a command as a user of the group, with a umask."""
    user = ("setpriv", f"--reuid={uid}", f"--regid={GROUP}", "--clear-groups", READS, "--ambient-caps=+dac_read_search")
    return (*user, "sh", "-c", f'umask {umask}; exec "$@"', "sh")


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A model folder that belongs to the group and passes it on."""
    folder = tmp_path / "models"
    folder.mkdir()
    os.chown(folder, FIRST, GROUP)
    folder.chmod(0o2775)
    for parent in tmp_path.parents:
        if parent.owner() == "root" and parent.is_relative_to(Path("/tmp")):  # noqa: S108 - pytest's own folders
            parent.chmod(parent.stat().st_mode | 0o011)
    return folder


@pytest.fixture
def run(models: Path, tmp_path: Path) -> Iterator[Run]:
    """A function that starts a service on the folder as a user, with a umask."""
    with ExitStack() as running:

        def start(uid: int, umask: str) -> RunningService:
            folder = tmp_path / str(uid)
            folder.mkdir()
            os.chown(folder, uid, GROUP)
            service = RunningService(folder, wrapper=as_user(uid, umask), engine_class=ECHO, models_dir=models)
            return running.enter_context(service).wait_until_ready()

        yield start


def actions(service: RunningService) -> list[tuple[str, str]]:
    """Return the action and the name of each line of the journal, oldest first."""
    events = service.client.get("/journal").raise_for_status().json()["events"]
    return [(event["action"], event["name"]) for event in reversed(events)]


def check_of(service: RunningService, name: str) -> bool:
    checks = service.client.get("/readyz?verbose").json()["checks"]
    return next(bool(check["ok"]) for check in checks if check["name"] == name)


def test_each_user_changes_what_the_other_made_and_the_journal_has_all(run: Run, models: Path) -> None:
    """Each of two users changes the other's models, and every change is in the journal."""
    services = [run(FIRST, "002"), run(SECOND, "002")]
    done = []
    for number, (mine, other) in enumerate((services, services[::-1])):
        name = f"folder/{number}.bin"
        assert mine.client.put(f"/models/{name}", content=b"old").status_code == 201
        assert other.client.put(f"/models/{name}", content=b"new", headers={"if-match": "*"}).status_code == 200
        trash_id = mine.client.delete(f"/models/{name}").raise_for_status().json()["trash_id"]
        assert other.client.post(f"/trash/{trash_id}/restore").status_code == 200
        assert mine.client.put(f"/models/{name}/protection", json={"reason": "why"}).status_code == 200
        assert other.client.delete(f"/models/{name}/protection").status_code == 200
        assert mine.client.delete("/trash").status_code == 200
        done += [
            (action, name)
            for action in (
                "uploaded",
                "trashed",
                "uploaded",
                "trashed",
                "restored",
                "protected",
                "unprotected",
                "purged",
            )
        ]
    assert actions(services[0]) == actions(services[1]) == done
    assert all(check_of(service, "journal") for service in services)
    assert (models / ".store/journal.jsonl").stat().st_mode & 0o777 == 0o664


@pytest.mark.slow
def test_a_journal_that_only_another_user_may_write_is_put_aside(run: Run, models: Path) -> None:
    """A journal that only its owner may write, stays readable; a new one takes the next line."""
    first = run(FIRST, "002")
    first.client.put("/models/a.bin", content=b"a").raise_for_status()
    (models / ".store/journal.jsonl").chmod(0o644)

    second = run(SECOND, "002")
    answer = second.client.put("/models/b.bin", content=b"b").raise_for_status()

    assert "change-warning" not in answer.headers
    assert actions(first) == [("uploaded", "a.bin"), ("uploaded", "b.bin")]


@pytest.mark.slow
def test_rights_are_told_as_rights_with_the_owner_and_the_user(run: Run, models: Path) -> None:
    """A user whom the rights forbid a change is told whose the file is and who the process is, and reads go on."""
    first = run(FIRST, "022")
    first.client.put("/models/a.bin", content=b"a").raise_for_status()
    eventually(lambda: check_of(first, "store-writable"))
    second = run(SECOND, "022")

    refused = second.client.delete("/models/a.bin")
    assert problem_of(refused) == (503, "store-denied")
    for part in (f"uid {FIRST}", f"uid {SECOND}", "Permission denied"):
        assert part in refused.json()["detail"]
    assert not check_of(second, "store-writable")
    assert second.client.get("/storage").json()["is_writable"] is False
    assert second.client.get("/models/a.bin").status_code == 200

    environment = os.environ | {"OCR_MODELS_DIR": str(models)}
    command = (*as_user(SECOND, "002"), sys.executable, "-m", "app", "models", "delete", "a.bin")
    told = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert told.returncode == 1
    assert f"uid {FIRST}" in told.stderr
    assert "read-only" not in told.stderr
