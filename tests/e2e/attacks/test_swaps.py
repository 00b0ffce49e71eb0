"""A neighbour swaps folders and files for links and pipes as fast as it can while callers use the service.

TEST_SWAP_SECONDS sets how long, by default 4 s. Nothing outside the model folder may be read, written, moved or
deleted, and no answer may be a 500.
"""

import os
import random
import re
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from inotify_simple import INotify, flags

from tests.conftest import Serve
from tests.support.service import ECHO, ROOT, RunningService
from tests.support.waiting import eventually

SECONDS = float(os.environ.get("TEST_SWAP_SECONDS", "4"))
SWAPPED = ("folder", "outer", "top/inner")
"""The folders that are swapped for links. None is below another, or the neighbour itself would go through a link."""
FOLDERS = (*SWAPPED, "outer/inner", "new/deep")
SECRET = b"not a model, and nobody's business\n" * 1000
SECRET_SIZE = re.compile(rf"\"size_bytes\":\s*{len(SECRET)}\b")
TOUCHED = flags.ACCESS | flags.MODIFY | flags.ATTRIB | flags.CREATE | flags.DELETE | flags.MOVED_FROM | flags.MOVED_TO
ALLOWED = {200, 201, 202, 204, 207, 304, 404, 409, 412, 422, 423, 503}


def make_outside(outside: Path) -> None:
    """Create the folder to which the links lead: it has files at the paths of models, and folders at theirs."""
    for name in ("a.bin", "b.bin", "inner/a.bin", "inner/b.bin", "old_a.bin", "inner/old_a.bin"):
        (outside / name).parent.mkdir(parents=True, exist_ok=True)
        (outside / name).write_bytes(SECRET)


def make_pairs(models: Path, outside: Path) -> list[Path]:
    """Create what is swapped, and return the pairs: folders and links, a file and a link, a file and a pipe."""
    pairs = []
    (models / "outer/inner").mkdir(parents=True)
    for name in SWAPPED:
        (models / name).mkdir(parents=True, exist_ok=True)
        link = models / f".link-to-swap-{name.replace('/', '-')}"
        link.symlink_to(outside)
        pairs += [models / name, link]
    for name, other in (("file.bin", ".link"), ("old_piped.bin", ".pipe")):
        (models / name).write_bytes(b"model")
        pairs += [models / name, models / other]
    (models / ".link").symlink_to(outside / "a.bin")
    os.mkfifo(models / ".pipe")
    return pairs


@contextmanager
def swapping(pairs: list[Path]) -> Iterator[None]:
    """Run the neighbour."""
    command = [sys.executable, str(ROOT / "tests/support/defects/swapping_neighbour.py"), *map(str, pairs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as neighbour:
        assert neighbour.stdout
        assert neighbour.stdout.readline() == b"swapping\n"
        try:
            yield
        finally:
            neighbour.kill()


class Caller:
    """Sends requests of one kind until told to stop, and counts the answers."""

    def __init__(self, service: RunningService, kind: str, step: Callable[["Caller", str], None]) -> None:
        self.client = httpx.Client(base_url=service.url, timeout=120)
        self.answers: Counter[int] = Counter()
        self.problems: list[str] = []
        self._thread = threading.Thread(target=self._run, args=(kind, step))
        self._until = time.monotonic() + SECONDS
        self._thread.start()

    def send(self, method: str, path: str, **options: object) -> httpx.Response:
        """Send a request, and note what must not be in its answer."""
        answer = self.client.request(method, path, **options)  # type: ignore[arg-type]
        self.answers[answer.status_code] += 1
        if answer.status_code not in ALLOWED or SECRET_SIZE.search(answer.text):
            self.problems.append(f"{method} {path}: {answer.status_code} {answer.text[:1000]}")
        return answer

    def _run(self, kind: str, step: Callable[["Caller", str], None]) -> None:
        chance = random.Random(kind)  # noqa: S311
        try:
            while time.monotonic() < self._until:
                folder = chance.choice(FOLDERS)
                name = chance.choice((f"{folder}/a.bin", f"{folder}/old_a.bin", "file.bin", "old_piped.bin"))
                step(self, name)
        except Exception as exc:  # noqa: BLE001 - shown by the test
            self.problems.append(repr(exc))

    def finish(self) -> None:
        """Wait for the end."""
        self._thread.join(120)
        self.client.close()


def put(caller: Caller, name: str) -> None:
    caller.send("PUT", f"/models/{name}", content=b"model " + os.urandom(8).hex().encode())


def delete(caller: Caller, name: str) -> None:
    is_permanent = "true" if time.monotonic_ns() % 2 else "false"
    caller.send("DELETE", f"/models/{name}", params={"permanent": is_permanent})


def restore(caller: Caller, _: str) -> None:
    for entry in caller.send("GET", "/trash").json().get("entries", [])[:5]:
        caller.send("POST", f"/trash/{entry['id']}/restore")


def prune(caller: Caller, _: str) -> None:
    plan = caller.send("POST", "/prune", json={"reasons": ["stale_pattern"], "dry_run": True})
    if plan.status_code == 200 and "plan_id" in plan.json():
        caller.send(
            "POST", "/prune", json={"reasons": ["stale_pattern"], "dry_run": False, "plan_id": plan.json()["plan_id"]}
        )


def read(caller: Caller, name: str) -> None:
    for path in ("/models", "/models?limit=10", f"/models/{name}", f"/models/path?name={name}", "/audit", "/storage"):
        caller.send("GET", path)
    caller.send("POST", f"/models/{name}/verify")


def touched_of(watch: INotify) -> list[str]:
    """Return what was done to the files outside."""
    return [f"{event.name} {flags.from_mask(event.mask)}" for event in watch.read(timeout=0)]


@pytest.mark.slow
@pytest.mark.timeout(300 + 2 * SECONDS)
def test_nothing_outside_is_touched_while_a_neighbour_swaps_folders_for_links(serve: Serve, tmp_path: Path) -> None:
    """Uploads, deletions, restores, prunes, leases and reads during swaps touch nothing outside and answer no 500."""
    models, outside = tmp_path / "models", tmp_path / "outside"
    make_outside(outside)
    models.mkdir()
    pairs = make_pairs(models, outside)
    service = serve(engine_class=ECHO, old_patterns="old_*", single_service="true")
    eventually(lambda: service.client.get("/readyz").status_code == 200, within=60)
    service.client.get("/models").raise_for_status()
    with INotify() as watch:
        for folder in (outside, outside / "inner"):
            watch.add_watch(folder, TOUCHED)
        with swapping(pairs):
            steps = {"put": put, "delete": delete, "restore": restore, "prune": prune, "read": read, "put2": put}
            callers = [Caller(service, kind, step) for kind, step in steps.items()]
            leases = lease_until(time.monotonic() + SECONDS, service)
            for caller in callers:
                caller.finish()
        touched = touched_of(watch)
    problems = [problem for caller in callers for problem in caller.problems]
    print({kind: dict(caller.answers) for kind, caller in zip(steps, callers, strict=True)}, leases)
    assert not problems, "\n".join(problems[:10])
    assert touched == []
    assert sorted(str(path.relative_to(outside)) for path in outside.rglob("*.bin")) == sorted(
        ["a.bin", "b.bin", "inner/a.bin", "inner/b.bin", "old_a.bin", "inner/old_a.bin"]
    )
    assert all(path.read_bytes() == SECRET for path in outside.rglob("*.bin"))
    assert "Traceback" not in service.log
    assert sum(caller.answers[201] + caller.answers[200] for caller in callers) > 0
    service.client.get("/livez").raise_for_status()


def lease_until(until: float, service: RunningService) -> Counter[int]:
    """Take leases by the command, one after the other, and count the exit statuses."""
    ended: Counter[int] = Counter()
    number = 0
    while time.monotonic() < until:
        name = ("folder/a.bin", "outer/inner/a.bin", "file.bin", "old_piped.bin")[number % 4]
        number += 1
        done = subprocess.run(
            [sys.executable, "-m", "app", "models", "lease", name, "--", "true"],
            cwd=ROOT,
            env=os.environ | {"OCR_MODELS_DIR": str(service.models_dir)},
            stderr=subprocess.PIPE,
            text=True,
            check=False,
            timeout=120,
        )
        assert "Traceback" not in done.stderr, done.stderr
        ended[done.returncode] += 1
    return ended
