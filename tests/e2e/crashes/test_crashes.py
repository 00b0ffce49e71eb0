"""Processes killed at random moments while they change a folder: no model is lost, and none is incomplete.

The processes upload, replace, pull from a real server, continue and cancel pulls, delete, restore, purge, empty, prune
and sweep. The slow tests kill TEST_KILLS of them, by default 150: most are processes with a Store of their own, a tenth
are services, and test_resumable_crashes kills more of those. `make test-crashes` kills over 1,000. The tests print
which changes were interrupted.
"""

import contextlib
import hashlib
import json
import multiprocessing
import os
import random
import signal
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

from app.build import build_jobs
from app.jobs.sweep import sweep_jobs
from app.jobs.units.new_units import RECEIVED_SUFFIX
from app.pulls.pull_jobs import PULL
from app.store.policy import Policy
from app.store.store import Store
from tests.conftest import Serve
from tests.support.crash.actions import JOB_RETENTION
from tests.support.crash.labelled import Labelled, everything
from tests.support.crash.labelled_hub import LabelledHub
from tests.support.crash.random_changes import Note, change_until_killed
from tests.support.hub import Hub
from tests.support.own_pulls import OwnPulls
from tests.support.processes import free_port
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

KILLS = int(os.environ.get("TEST_KILLS", "150"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
LONGEST_LIFE_SECONDS = 0.2
"""The longest time from a process's first change to its kill: about ten changes of about ten steps each."""
AT_ONCE = 2
FOR_GOOD = {"erase", "purge", "empty", "sweep"}


class Ledger:
    """The labels that must be in the folder, by the notes of the killed processes."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self._begun: set[str] = set()
        self._done: set[str] = set()
        self._gone: set[str] = set()
        """The labels that were deleted for good, or may have been."""
        self.killed_at: Counter[str] = Counter()
        """The changes that were begun but not noted as done or refused."""

    def check(self, root: Path) -> None:
        """Check that no label is lost or doubled. No process may change the folder meanwhile."""
        self._read_on()
        there = Counter({label: len({each.inode for each in same}) for label, same in by_label(root).items()})
        assert set(there.values()) <= {1}, f"more than one copy: {there}"
        assert set(there) <= self._begun, "a label that no process uploaded or pulled"
        missing = self._done - self._gone - set(there)
        assert not missing, f"lost: {missing}"

    def _read_on(self) -> None:
        last: dict[str, Note] = {}
        with self._log.open() as log:
            log.seek(self._read)
            for line in log:
                self._take(Note(**json.loads(line)), last)
            self._read = log.tell()
        self.killed_at.update(note.change for note in last.values() if not note.is_done)

    def _take(self, note: Note, last: dict[str, Note]) -> None:
        """Record a note. `last` has the last note of each process, which is its present change unless it is done."""
        if note.label:
            (self._done if note.is_done else self._begun).add(note.label)
        last[note.process] = note
        at_work = [each for each in last.values() if not each.is_done]
        if note.change in FOR_GOOD:
            self._gone.update(note.touched.values())
        if note.change == "empty" or any(each.change == "empty" for each in at_work):
            # A model that is deleted while the trash is emptied may be purged too.
            self._gone.update(label for each in (*at_work, note) for label in each.touched.values())


def by_label(root: Path) -> dict[str, list[Labelled]]:
    """Return every version in the folder and its trash, with all its names."""
    found: dict[str, list[Labelled]] = {}
    for _, labelled in everything(root):
        found.setdefault(labelled.label, []).append(labelled)
    return found


def open_store_on(root: Path) -> Store:
    """Open a store on a folder."""
    store = Store(
        root,
        Policy(),
        trash_retention=timedelta(hours=1),
        on_event=lambda *_: None,
    )
    store.open()
    return store


def check_after_a_sweep(store: Store) -> None:
    """Sweep, then check that no file of a killed process is left and that the store knows every other file once."""
    jobs = build_jobs(store)
    assert jobs.unfinished(PULL) == []
    store.sweep(jobs.needs_no_partials)
    sweep_jobs(jobs, JOB_RETENTION)
    assert list(store.volume.staging_dir.iterdir()) == []
    assert list(store.volume.aside_dir.glob("*.model")) == []
    assert {path.suffix for path in store.volume.jobs_dir.iterdir()} <= {"", RECEIVED_SUFFIX}  # no drafts
    assert list((store.volume.lock_file.parent / "leases").glob("*")) == []
    assert all(len(same) == 1 for same in by_label(store.root).values()), "a model lies in the trash as well"
    entries = {entry.id for entry in store.trash.entries()}
    # A record without a file is left by a deletion that was killed before its rename; a sweep removes it later.
    assert {path.name for path in store.volume.trash_dir.iterdir() if path.suffix != ".json"} == entries
    assert set(store.scan().models) == {
        str(path.relative_to(store.root)) for path, _ in everything(store.root) if ".store" not in path.parts
    }
    for model in store.scan().models.values():
        sha256 = hashlib.sha256((store.root / model.name).read_bytes()).hexdigest()
        assert store.digests.of(model) in {sha256, None}
    lines = store.volume.journal_file.read_bytes().splitlines() if store.volume.journal_file.exists() else []
    assert len(store.journal.latest(len(lines) + 1)) == len(lines)


@contextlib.contextmanager
def changing(through: str, root: Path, seed: int, log: Path, hub: Hub) -> Iterator[BaseProcess]:
    """Start a process that makes random changes, and kill it at the end of the block. It is running when this yields.

    It is forked from a server that has imported all modules.
    """
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "tests.support.crash.random_changes"])
    ours, theirs = context.Pipe()
    process = context.Process(
        target=change_until_killed, args=(through, root, seed, log, hub.cdn_url, theirs), daemon=True
    )
    process.start()
    theirs.close()
    try:
        assert ours.recv() == "ready"
        yield process
    finally:
        process.kill()
        process.join()
        ours.close()


def finish_pulls(store: Store, hub: Hub) -> None:
    """Run the unfinished pulls to their end, as the next service would."""
    with contextlib.closing(OwnPulls(store, build_jobs(store), (hub.cdn_url,))) as pulls:
        pulls.adopt()


def crash_again_and_again(hub: Hub, folder: Path, kills: int) -> Counter[str]:
    """Kill random processes in rounds of two, check the folder after each, and return the interrupted changes.

    Each process is killed at its own random moment. Some rounds are followed by a sweep.
    """
    print(f"TEST_SEED={SEED}")
    chance = random.Random(SEED)  # noqa: S311 - to be the same each time
    store, ledger = open_store_on(folder / "models"), Ledger(folder / "log")
    (folder / "log").touch()
    for number in range(0, kills, AT_ONCE):
        with contextlib.ExitStack() as running:
            for each in range(AT_ONCE):
                process = running.enter_context(changing("", store.root, SEED + number + each, folder / "log", hub))
                process.join(timeout=chance.uniform(0, LONGEST_LIFE_SECONDS))
                assert process.exitcode is None, "the process ended before it was killed"
                if chance.random() < 0.5:
                    process.kill()
        ledger.check(store.root)
        if chance.random() < 0.2:
            finish_pulls(store, hub)
            check_after_a_sweep(store)
            ledger.check(store.root)
    finish_pulls(store, hub)
    check_after_a_sweep(store)
    ledger.check(store.root)
    print(ledger.killed_at)
    return ledger.killed_at


def kill_the_service(serve_jobs: Serve, hub: Hub, folder: Path, kills: int) -> Counter[str]:
    """Kill a real service in rounds while two clients change its models, and return the interrupted changes.

    The service of the next round continues what is left.
    """
    chance = random.Random(SEED)  # noqa: S311
    root, ledger = folder / "models", Ledger(folder / "log")
    settings = {"engine_class": ECHO, "pull_allowed_urls": hub.cdn_url, "pull_retry_pause": "0.01s"}
    settings["port"] = str(free_port())  # at another one a service of another test could answer after the kill
    (folder / "log").touch()
    for number in range(0, kills * AT_ONCE, AT_ONCE):
        service = serve_jobs(**settings)
        with contextlib.ExitStack() as running:
            callers = [
                running.enter_context(changing(service.url, root, SEED + number + each, folder / "log", hub))
                for each in range(AT_ONCE)
            ]
            callers[0].join(timeout=chance.uniform(0, 4 * LONGEST_LIFE_SECONDS))
            service.stop(signal.SIGKILL)
            for caller in callers:
                caller.join(timeout=120)
                assert caller.exitcode == 0
        ledger.check(root)
    service = serve_jobs(**settings)
    eventually(lambda: pulls_of(service) <= {"succeeded", "failed", "cancelled"}, within=30)
    assert listed_in(service) == {
        str(path.relative_to(root)) for path, _ in everything(root) if ".store" not in path.parts
    }
    service.stop()
    check_after_a_sweep(open_store_on(root))
    ledger.check(root)
    print(ledger.killed_at)
    return ledger.killed_at


def pulls_of(service: RunningService) -> set[str]:
    """Return the states of all pulls of a service."""
    return {job["state"] for job in service.client.get("/pulls?limit=1000").raise_for_status().json()["jobs"]}


def listed_in(service: RunningService) -> set[str]:
    """Return the names of the models that a service lists."""
    return {model["name"] for model in service.client.get("/models").raise_for_status().json()["models"]}


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Run a hub that serves every labelled model."""
    with LabelledHub() as running:
        yield running


def test_processes_killed_anywhere_lose_nothing(hub: Hub, tmp_path: Path) -> None:
    """Eight processes killed at random moments lose no model. TEST_SEED repeats their random choices."""
    crash_again_and_again(hub, tmp_path, 8)


def test_a_killed_service_loses_nothing(serve_jobs: Serve, hub: Hub, tmp_path: Path) -> None:
    """A service killed twice while clients change its models loses no model."""
    kill_the_service(serve_jobs, hub, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_kills_lose_nothing(hub: Hub, tmp_path: Path) -> None:
    """TEST_KILLS processes killed at random moments lose no model."""
    assert crash_again_and_again(hub, tmp_path, KILLS * 9 // 10).keys() >= {"upload", "pull", "delete"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killing_the_service_loses_nothing(serve_jobs: Serve, hub: Hub, tmp_path: Path) -> None:
    """A service killed TEST_KILLS / 10 times while clients change its models loses no model."""
    kill_the_service(serve_jobs, hub, tmp_path, KILLS // 10)
