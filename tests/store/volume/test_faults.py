"""Every change of a running service while its disk answers with error numbers, one call and one number at a time.

Whatever the disk answers, the service's answer is documented and true: after an error nothing has changed, after a
success the change is made and in the journal. TEST_FAULTS is how many error numbers each call and change is tried with
(default 1; 99 for all, which takes minutes).
"""

import contextlib
import errno
import itertools
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.http.problem_table import PROBLEM_TYPES
from tests.support.clients import tus
from tests.support.clients.answers import problem_of
from tests.support.faults import FOREVER, Faults
from tests.support.hub import Hub, running_hub
from tests.support.service import ECHO, ROOT, RunningService
from tests.support.waiting import eventually

AT_ONCE = int(os.environ.get("TEST_FAULTS", "1"))
NUMBERS = (
    errno.EIO,
    errno.ENOSPC,
    errno.EDQUOT,
    errno.EROFS,
    errno.EACCES,
    errno.EPERM,
    errno.EMFILE,
    errno.ENFILE,
    errno.ENOMEM,
    errno.ENOLCK,
    errno.ESTALE,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EBUSY,
    errno.EINTR,
    errno.ETIMEDOUT,
    errno.EMLINK,
    errno.EXDEV,
    errno.ENAMETOOLONG,
    errno.ENOTCONN,
    errno.EFBIG,
    errno.ENXIO,
    errno.ELOOP,
)
FAULTS = {
    "open a file": ("open", "file", ""),
    "create a file": ("open", "", ".store/"),
    "open a folder": ("open", "folder", ""),
    "rename": ("rename", "", ""),
    "link": ("link", "", ""),
    "unlink": ("unlink", "", ""),
    "make a folder": ("mkdir", "", ""),
    "sync a file": ("fsync", "file", ""),
    "sync a folder": ("fsync", "folder", ""),
    "lock": ("lock", "", ""),
    "write": ("write", "", ""),
    "set a time": ("utime", "", ""),
    "open the journal": ("open", "", "journal.jsonl"),
    "sync the journal": ("fsync", "", "journal.jsonl"),
}
SLUGS = {kind.slug for kind in PROBLEM_TYPES.values()}
Change = Callable[[], httpx.Response]


@dataclass(frozen=True)
class Disk:
    """A service and the faults of its disk."""

    service: RunningService
    faults: Faults
    hub: Hub

    @property
    def models(self) -> Path:
        """The model folder."""
        return self.service.models_dir

    def call(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request."""
        return self.service.client.request(method, path, **more)

    def made(self, method: str, path: str, **more: Any) -> httpx.Response:
        """Send a request that prepares a test; a service whose disk failed a moment ago may need a second."""
        return eventually(lambda: answer if (answer := self.call(method, path, **more)).is_success else None, within=30)

    def state(self, name: str) -> dict[str, Any]:
        """Return what the disk has of a name: the model, its trash entries, its protection, its uploads."""
        store = self.models / ".store"
        entries = {path: text for path, text in _texts(store / "trash") if f'"{name}"' in text}
        return {
            "model": _bytes_at(self.models / name),
            "trash": sorted(content for path in entries for content in _bytes_at(path.with_suffix("")).values()),
            "protected": any(f'"{name}"' in text for _, text in _texts(store / "protection")),
            "uploads": [
                path
                for path, text in _texts(store / "staging")
                if f'"{name}"' in text and '"is_publishing": false' in text
            ],
        }

    def journal(self, name: str) -> list[str]:
        """Return the actions that the journal has of a name, oldest first."""
        answer = self.made("GET", "/journal?limit=100")
        return [event["action"] for event in reversed(answer.json()["events"]) if event["name"] == name]


def _bytes_at(path: Path) -> dict[Path, bytes]:
    with contextlib.suppress(FileNotFoundError):
        return {path: path.read_bytes()}
    return {}


def _texts(folder: Path) -> Iterator[tuple[Path, str]]:
    for path in folder.glob("*.json"):
        for content in _bytes_at(path).values():  # a sweep may remove a record meanwhile
            yield path, content.decode()


@pytest.fixture(scope="module")
def shared_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Disk]:
    """Run one service with the library for all tests of this module. Tests use `disk`."""
    folder = tmp_path_factory.mktemp("faults")
    (folder / "models").mkdir()
    faults = Faults(folder, folder / "models")
    with running_hub() as hub:
        settings = {"pull_allowed_urls": f"{hub.cdn_url}/models", "pull_retry_pause": "0.01s"}
        with RunningService(folder, wrapper=faults.wrapper, engine_class=ECHO, **settings) as running:
            yield Disk(running.wait_until_ready(), faults, hub)


@pytest.fixture
def disk(shared_disk: Disk) -> Disk:
    """Return the shared service without a fault and with an empty folder."""
    eventually(lambda: shared_disk.call("DELETE", "/trash").is_success, within=30)
    return shared_disk


names = (f"folder/{number}.bin" for number in itertools.count())


def put(disk: Disk, name: str) -> Change:
    """Upload a new model."""
    return lambda: disk.call("PUT", f"/models/{name}", content=b"new")


def replace(disk: Disk, name: str) -> Change:
    """Replace a model."""
    disk.made("PUT", f"/models/{name}", content=b"old")
    return lambda: disk.call("PUT", f"/models/{name}", content=b"new", headers={"if-match": "*"})


def delete(disk: Disk, name: str) -> Change:
    """Delete a model to the trash."""
    disk.made("PUT", f"/models/{name}", content=b"old")
    return lambda: disk.call("DELETE", f"/models/{name}")


def delete_for_good(disk: Disk, name: str) -> Change:
    """Delete a model permanently."""
    disk.made("PUT", f"/models/{name}", content=b"old")
    return lambda: disk.call("DELETE", f"/models/{name}?permanent=true")


def _trashed(disk: Disk, name: str) -> str:
    disk.made("PUT", f"/models/{name}", content=b"old")
    return str(disk.made("DELETE", f"/models/{name}").json()["trash_id"])


def restore(disk: Disk, name: str) -> Change:
    """Restore a model."""
    trash_id = _trashed(disk, name)
    return lambda: disk.call("POST", f"/trash/{trash_id}/restore")


def purge(disk: Disk, name: str) -> Change:
    """Purge a trash entry."""
    trash_id = _trashed(disk, name)
    return lambda: disk.call("DELETE", f"/trash/{trash_id}")


def empty(disk: Disk, name: str) -> Change:
    """Empty the trash."""
    _trashed(disk, name)
    return lambda: disk.call("DELETE", "/trash")


def protect(disk: Disk, name: str) -> Change:
    """Protect a model."""
    disk.made("PUT", f"/models/{name}", content=b"old")
    return lambda: disk.call("PUT", f"/models/{name}/protection", json={"reason": "why"})


def unprotect(disk: Disk, name: str) -> Change:
    """Remove a protection."""
    disk.made("PUT", f"/models/{name}", content=b"old")
    disk.made("PUT", f"/models/{name}/protection", json={"reason": "why"})
    return lambda: disk.call("DELETE", f"/models/{name}/protection")


def verify(disk: Disk, name: str) -> Change:
    """Verify a model."""
    disk.made("PUT", f"/models/{name}", content=b"old")
    return lambda: disk.call("POST", f"/models/{name}/verify")


def create_upload(disk: Disk, name: str) -> Change:
    """Create a resumable upload."""
    return lambda: tus.begin(disk.service, name, 3)


def append(disk: Disk, name: str) -> Change:
    """Send the last chunk of a resumable upload."""
    path = eventually(
        lambda: answer.headers["location"] if (answer := tus.begin(disk.service, name, 3)).is_success else None
    )
    return lambda: tus.append(disk.service, path, 0, b"new")


def prune(disk: Disk, name: str) -> Change:
    """Prune an old model; the others of the folder are not old."""
    disk.made("PUT", f"/models/{name}", content=b"old")
    body = {"reasons": ["stale_pattern"]}
    plan = disk.made("POST", "/prune", json=body).json()
    assert [model["name"] for model in plan["models"]] == [name]
    return lambda: disk.call("POST", "/prune", json=body | {"dry_run": False, "plan_id": plan["plan_id"]})


CHANGES: dict[Callable[[Disk, str], Change], str | None] = {
    put: "uploaded",
    replace: "trashed",
    delete: "trashed",
    delete_for_good: "deleted",
    restore: "restored",
    purge: "purged",
    empty: "purged",
    protect: "protected",
    unprotect: "unprotected",
    verify: None,
    create_upload: None,
    append: "uploaded",
    prune: "trashed",
}
"""Each change, and the action that the journal has after it."""


def _name_for(change: object) -> str:
    return next(names).replace("/", "/old_") if change is prune else next(names)


def check(
    disk: Disk, change: Callable[[Disk, str], Change], fault: tuple[str, str, str], number: int, *, late: bool
) -> bool:
    """Make a change while a call fails, and check that the answer is true. Return whether the fault has struck."""
    name = _name_for(change)
    make = change(disk, name)
    before, written = disk.state(name), disk.journal(name)
    call, kind, part = fault
    with disk.faults.on(call, number, kind, part, strikes=1 if number == errno.EINTR else FOREVER, late=late):
        answer = make()
    where = f"{change.__name__} {fault} {errno.errorcode[number]} late={late}: {answer.status_code} {answer.text}"
    has_struck = disk.faults.struck > 0
    after = disk.state(name)
    action = CHANGES[change]
    if answer.is_success and answer.status_code != 207:
        assert change is verify or after != before, where
        if action:
            eventually(lambda: disk.journal(name)[len(written) :].count(action) == 1, within=30)
    else:
        assert after == before, where
        assert disk.journal(name) == written, where
        if answer.status_code == 207:
            assert {model["problem"] for model in answer.json()["models"]} <= SLUGS, where
        else:
            status, slug = problem_of(answer)
            assert status < 500 or status in {503, 507}, where
            assert slug in SLUGS, where
    if change is prune and disk.state(name)["model"]:
        disk.made("DELETE", f"/models/{name}?permanent=true")
    return has_struck


@pytest.mark.slow
@pytest.mark.timeout(60 + 200 * AT_ONCE)
@pytest.mark.parametrize("fault", FAULTS)
def test_every_answer_is_true_whatever_number_the_disk_answers(disk: Disk, fault: str) -> None:
    """After an error nothing has changed; after a success the change is made and in the journal."""
    is_struck = False
    for at, change in enumerate(CHANGES):
        start = at * 5 + list(FAULTS).index(fault) * 7
        chosen = [NUMBERS[(start + step) % len(NUMBERS)] for step in range(min(AT_ONCE, len(NUMBERS)))]
        for number in chosen:
            if fault == "lock" and number == errno.EACCES:
                continue  # POSIX: another process holds the lock
            is_struck |= check(disk, change, FAULTS[fault], number, late=False)
    assert is_struck


LATE = {
    "rename": [replace, delete, restore, purge, append, prune],
    "unlink": [delete_for_good],
}


@pytest.mark.parametrize(("call", "change"), [(call, change) for call, changes in LATE.items() for change in changes])
def test_a_change_whose_answer_the_server_lost_is_told_as_made(disk: Disk, call: str, change: Any) -> None:
    """If a rename or an unlink is made and reported as failed, the answer is a success, and the journal has it."""
    assert check(disk, change, (call, "", ""), errno.ETIMEDOUT, late=True)


@pytest.mark.parametrize("number", [errno.EINVAL, errno.EIO], ids=["EINVAL", "EIO"])
def test_a_folder_that_cannot_be_synced_fails_no_change(disk: Disk, number: int) -> None:
    """Changes succeed although a folder cannot be synced after them. A header tells it, but EINVAL is ignored."""
    for change in (put, delete_for_good, restore, protect, append):
        name = _name_for(change)
        make = change(disk, name)
        with disk.faults.on("fsync", number, "folder"):
            answer = make()

        assert answer.is_success, answer.text
        assert disk.faults.struck
        told = answer.headers.get("change-warning", "")
        assert ("could not be synced" in told) is (number == errno.EIO)


def test_a_journal_that_cannot_be_written_shows_and_catches_up(disk: Disk) -> None:
    """The change is made and told, readiness and metrics show the journal, and the line is written once that works."""

    def journal_check() -> bool:
        checks = disk.call("GET", "/readyz?verbose").json()["checks"]
        return next(bool(check["ok"]) for check in checks if check["name"] == "journal")

    eventually(journal_check, within=30)
    with disk.faults.on("open", errno.EACCES, "", "journal.jsonl"):
        answer = disk.call("PUT", "/models/journal.bin", content=b"new")
        assert answer.status_code == 201
        assert "journal may not have it yet" in answer.headers["change-warning"]
        assert not journal_check()
        metrics = disk.call("GET", "/metrics").text
        assert "ocr_journal_writable 0.0" in metrics
        assert "ocr_journal_waiting 1.0" in metrics

    eventually(lambda: disk.journal("journal.bin") == ["uploaded"], within=30)
    assert eventually(journal_check, within=30)


def test_a_file_system_without_a_rename_that_never_replaces_is_used_by_links(disk: Disk) -> None:
    """EPERM for such a rename, as some file systems answer, refuses no change and is not called a matter of rights."""
    for change in (put, restore, append):
        assert check(
            disk, change, ("rename", "", "staging/" if change is not restore else "trash/"), errno.EPERM, late=False
        )


def job_of(disk: Disk, job_id: str) -> dict[str, Any]:
    """Return a finished job; wait for that."""

    def finished() -> dict[str, Any] | None:
        answer = disk.call("GET", f"/pulls/{job_id}")
        job: dict[str, Any] | None = answer.json() if answer.is_success else None
        return job if job and job["state"] in {"succeeded", "failed"} else None

    return eventually(finished, within=60)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("fault", FAULTS)
def test_a_pull_tells_what_happened_whatever_number_the_disk_answers(disk: Disk, fault: str) -> None:
    """A pull whose job succeeded has made its model and a line; one that was refused or has failed has made neither."""
    call, kind, part = FAULTS[fault]
    for number in (NUMBERS[(list(FAULTS).index(fault) * 5 + step) % len(NUMBERS)] for step in range(2)):
        name = f"pulled/{next(names).rpartition('/')[2]}"
        url = disk.hub.put(f"/models/{name}", b"new")
        with disk.faults.on(call, number, kind, part, strikes=1 if number == errno.EINTR else 4):
            answer = disk.call("POST", "/pulls", json={"url": url, "name": name})
            if answer.is_success:
                eventually(lambda name=name: disk.faults.struck or disk.state(name)["model"], within=30)
        where = f"{fault} {errno.errorcode[number]}: {answer.status_code} {answer.text}"
        if answer.is_success:
            job = job_of(disk, answer.json()["id"])
            is_done = job["state"] == "succeeded"
            where += str(job)
        else:
            status, slug = problem_of(answer)
            assert status in {409, 503, 507}, where
            assert slug in SLUGS, where
            is_done = False
        assert bool(disk.state(name)["model"]) == is_done, where
        if is_done:
            eventually(lambda name=name: disk.journal(name) == ["pulled"], within=30)
        else:
            assert disk.journal(name) == [], where


@pytest.mark.slow
@pytest.mark.parametrize("number", [errno.EIO, errno.EPERM], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "lock", "rename"])
def test_a_command_tells_what_the_disk_answers(disk: Disk, call: str, number: int) -> None:
    """A lease and a deletion by the command line succeed, or end with status 1 and one sentence."""
    name = next(names)
    disk.made("PUT", f"/models/{name}", content=b"old")
    environment = os.environ | {"OCR_MODELS_DIR": str(disk.models)}
    for command in (["models", "lease", name, "--", "true"], ["models", "delete", name]):
        with disk.faults.on(call, number):
            run = [*disk.faults.wrapper, sys.executable, "-m", "app", *command]
            told = subprocess.run(run, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
        assert told.returncode in {0, 1}, told.stderr
        assert "Traceback" not in told.stderr
        is_gone = disk.state(name)["model"] == {}
        assert is_gone == (command[1] == "delete" and told.returncode == 0), told.stderr


READS = (
    "/models",
    "/models/read.bin",
    "/models/path?name=read.bin",
    "/trash",
    "/journal",
    "/audit",
    "/storage",
    "/uploads",
    "/pulls",
    "/ocr/jobs",
    "/metrics",
    "/readyz?verbose",
    "/livez",
)


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EIO, errno.EMFILE, errno.ESTALE], ids=errno.errorcode.get)
@pytest.mark.parametrize("call", ["open", "lock", "stat"])
def test_every_read_answers_a_problem_and_never_a_crash(disk: Disk, call: str, number: int) -> None:
    """A list, a model or a probe is answered, or refused with a documented problem, whatever the disk answers."""
    if not (disk.models / "read.bin").exists():
        disk.made("PUT", "/models/read.bin", content=b"read")
    with disk.faults.on(call, number):
        answers = [disk.call("GET", path) for path in READS]

    for answer in answers:
        if not answer.is_success:
            assert answer.status_code in {404, 503}, f"{answer.url} {answer.text}"
            assert problem_of(answer)[1] in SLUGS
    assert answers[-1].status_code == 200
    eventually(lambda: all(disk.call("GET", path).is_success for path in READS if path != "/pulls"), within=60)
