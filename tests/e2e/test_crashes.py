"""Processes killed at random moments of what they do to a folder: no model is lost, and none is half there.

They upload, replace, pull from a real server, at once and in drips, go on with the pulls that others left, cancel them,
delete, restore, purge, empty, prune and sweep. The slow tests kill TEST_KILLS of them, 150 unless told otherwise: most
are processes with a store of their own, a tenth services, and test_resumable_crashes kills more of those. `make
test-crashes` kills over 1,000. What each was at is printed.
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
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

KILLS = int(os.environ.get("TEST_KILLS", "150"))
SEED = int(os.environ.get("TEST_SEED", "20261121"))
LONGEST_LIFE_SECONDS = 0.2
"""From the first change to the kill: some ten changes, each of some ten steps."""
AT_ONCE = 2
FOR_GOOD = {"erase", "purge", "empty", "sweep"}


class Ledger:
    """What must be there, by what the killed processes noted."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._read = 0
        self._begun: set[str] = set()
        self._done: set[str] = set()
        self._gone: set[str] = set()
        """Those that went for good, or may have."""
        self.killed_at: Counter[str] = Counter()
        """What those were at that did not come to say that it was done or refused, since the last check."""

    def check(self, root: Path) -> None:
        """Insist that nothing was lost, at a moment when nobody changes the folder."""
        self._read_on()
        there = Counter({label: len({each.inode for each in same}) for label, same in by_label(root).items()})
        assert set(there.values()) <= {1}, f"more than one copy: {there}"
        assert set(there) <= self._begun, "something that nobody brought"
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
        """`last` is what each process noted last: what it is at, unless it is done."""
        if note.label:
            (self._done if note.is_done else self._begun).add(note.label)
        last[note.process] = note
        at_work = [each for each in last.values() if not each.is_done]
        if note.change in FOR_GOOD:
            self._gone.update(note.touched.values())
        if note.change == "empty" or any(each.change == "empty" for each in at_work):
            # What comes into the trash while it is emptied may go with the rest.
            self._gone.update(label for each in (*at_work, note) for label in each.touched.values())


def by_label(root: Path) -> dict[str, list[Labelled]]:
    """Every version that is there, with all its names."""
    found: dict[str, list[Labelled]] = {}
    for _, labelled in everything(root):
        found.setdefault(labelled.label, []).append(labelled)
    return found


def opened(root: Path) -> Store:
    store = Store(
        root,
        Policy(),
        trash_retention=timedelta(hours=1),
        on_event=lambda *_: None,
    )
    store.open()
    return store


def check_after_a_sweep(store: Store) -> None:
    """What killed processes left is gone, and everything that is there is known, once."""
    jobs = build_jobs(store)
    assert jobs.unfinished(PULL) == []
    store.sweep(jobs.is_over)
    sweep_jobs(jobs, JOB_RETENTION)
    assert list(store.volume.staging_dir.iterdir()) == []
    assert list(store.volume.aside_dir.glob("*.model")) == []
    assert {path.suffix for path in store.volume.jobs_dir.iterdir()} <= {".json"}
    assert list((store.volume.lock_file.parent / "leases").glob("*")) == []
    assert all(len(same) == 1 for same in by_label(store.root).values()), "a model lies in the trash as well"
    entries = {entry.id for entry in store.trash.entries()}
    # A record without a file is of a deletion that was killed before its rename; it goes when it expires.
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
    """One such process, forked from a server that has imported everything; it is at work when this yields."""
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
    """As the next service would."""
    with contextlib.closing(OwnPulls(store, build_jobs(store), (hub.cdn_url,))) as pulls:
        pulls.adopt()


def crash_again_and_again(hub: Hub, folder: Path, kills: int) -> Counter[str]:
    """Rounds of two processes, each killed at a moment of its own; sometimes a sweep follows, sometimes more deaths.

    Returns what they were at.
    """
    print(f"TEST_SEED={SEED}")
    chance = random.Random(SEED)  # noqa: S311 - to be the same each time
    store, ledger = opened(folder / "models"), Ledger(folder / "log")
    (folder / "log").touch()
    for number in range(0, kills, AT_ONCE):
        with contextlib.ExitStack() as running:
            for each in range(AT_ONCE):
                process = running.enter_context(changing("", store.root, SEED + number + each, folder / "log", hub))
                process.join(timeout=chance.uniform(0, LONGEST_LIFE_SECONDS))
                assert process.exitcode is None, "it ended by itself"
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


def kill_the_service(serve: Serve, hub: Hub, folder: Path, kills: int) -> Counter[str]:
    """The real service, killed while two callers change its models; the next one goes on with what is left.

    Returns what they were at.
    """
    chance = random.Random(SEED)  # noqa: S311
    root, ledger = folder / "models", Ledger(folder / "log")
    settings = {"engine_class": ECHO, "pull_allowed_urls": hub.cdn_url, "pull_retry_pause": "0.01s"}
    (folder / "log").touch()
    for number in range(0, kills * AT_ONCE, AT_ONCE):
        service = serve(**settings)
        with contextlib.ExitStack() as running:
            callers = [
                running.enter_context(changing(service.url, root, SEED + number + each, folder / "log", hub))
                for each in range(AT_ONCE)
            ]
            callers[0].join(timeout=chance.uniform(0, 4 * LONGEST_LIFE_SECONDS))
            service.stop(signal.SIGKILL)
            for caller in callers:
                caller.join(timeout=60)
                assert caller.exitcode == 0
        ledger.check(root)
    service = serve(**settings)
    eventually(lambda: pulls_of(service) <= {"succeeded", "failed", "cancelled"}, within=30)
    assert listed_in(service) == {
        str(path.relative_to(root)) for path, _ in everything(root) if ".store" not in path.parts
    }
    service.stop()
    check_after_a_sweep(opened(root))
    ledger.check(root)
    print(ledger.killed_at)
    return ledger.killed_at


def pulls_of(service: RunningService) -> set[str]:
    return {job["state"] for job in service.client.get("/pulls?limit=1000").raise_for_status().json()["jobs"]}


def listed_in(service: RunningService) -> set[str]:
    return {model["name"] for model in service.client.get("/models").raise_for_status().json()["models"]}


@pytest.fixture
def hub() -> Iterator[Hub]:
    with LabelledHub() as running:
        yield running


def test_processes_killed_anywhere_lose_nothing(hub: Hub, tmp_path: Path) -> None:
    """Eight kills; TEST_SEED repeats a run as far as the machine lets it."""
    crash_again_and_again(hub, tmp_path, 8)


def test_a_killed_service_loses_nothing(serve: Serve, hub: Hub, tmp_path: Path) -> None:
    """Two kills."""
    kill_the_service(serve, hub, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_many_kills_lose_nothing(hub: Hub, tmp_path: Path) -> None:
    """Of processes with a store of their own."""
    assert crash_again_and_again(hub, tmp_path, KILLS * 9 // 10).keys() >= {"upload", "pull", "delete"}


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_killing_the_service_loses_nothing(serve: Serve, hub: Hub, tmp_path: Path) -> None:
    """Again and again, through HTTP."""
    kill_the_service(serve, hub, tmp_path, KILLS // 10)
