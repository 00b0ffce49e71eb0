"""Processes killed at random moments of what they do to a folder: no model is lost, and none is half there."""

import contextlib
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

from app.store.rules import Rules
from app.store.store import Store
from tests.conftest import Serve
from tests.support.labelled import Labelled, everything
from tests.support.random_changes import Note, change_until_killed
from tests.support.service import ECHO
from tests.support.waiting import eventually

SEED = int(os.environ.get("TEST_SEED", "20261121"))
LONGEST_LIFE_SECONDS = 0.15
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
    store = Store(root, Rules(), trash_retention=timedelta(hours=1), on_event=lambda *_: None)
    store.open()
    return store


def check_after_a_sweep(store: Store) -> None:
    """What killed processes left is gone, and everything that is there is known, once."""
    store.sweep()
    assert list(store.volume.staging_dir.iterdir()) == []
    assert all(len(same) == 1 for same in by_label(store.root).values()), "a model lies in the trash as well"
    entries = {entry.id for entry in store.trash_entries()}
    assert {path.name.partition(".")[0] for path in store.volume.trash_dir.iterdir()} == entries
    assert set(store.scan().models) == {
        str(path.relative_to(store.root)) for path, _ in everything(store.root) if ".store" not in path.parts
    }
    lines = store.volume.journal_file.read_bytes().splitlines() if store.volume.journal_file.exists() else []
    assert len(store.journal.latest(len(lines) + 1)) == len(lines)


@contextlib.contextmanager
def changing(through: str, root: Path, seed: int, log: Path) -> Iterator[BaseProcess]:
    """One such process, forked from a server that has imported everything; it is at work when this yields."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["__main__", "tests.support.random_changes"])
    ours, theirs = context.Pipe()
    process = context.Process(target=change_until_killed, args=(through, root, seed, log, theirs), daemon=True)
    process.start()
    try:
        assert ours.recv() == "ready"
        yield process
    finally:
        process.kill()
        process.join()
        ours.close()
        theirs.close()


def crash_again_and_again(folder: Path, kills: int) -> None:
    """Rounds of two processes, each killed at a moment of its own; sometimes a sweep follows, sometimes more deaths."""
    print(f"TEST_SEED={SEED}")
    chance = random.Random(SEED)  # noqa: S311 - to be the same each time
    store, ledger = opened(folder / "models"), Ledger(folder / "log")
    (folder / "log").touch()
    for number in range(0, kills, AT_ONCE):
        with contextlib.ExitStack() as running:
            for each in range(AT_ONCE):
                process = running.enter_context(changing("", store.root, SEED + number + each, folder / "log"))
                process.join(timeout=chance.uniform(0, LONGEST_LIFE_SECONDS))
                assert process.exitcode is None, "it ended by itself"
                if chance.random() < 0.5:
                    process.kill()
        ledger.check(store.root)
        if chance.random() < 0.3:
            check_after_a_sweep(store)
            ledger.check(store.root)
    check_after_a_sweep(store)


def kill_the_service(serve: Serve, folder: Path, kills: int) -> None:
    """The real service, killed while two callers change its models; the next one serves what is left."""
    chance = random.Random(SEED)  # noqa: S311
    root, ledger = folder / "models", Ledger(folder / "log")
    (folder / "log").touch()
    for number in range(0, kills * AT_ONCE, AT_ONCE):
        service = serve(engine_class=ECHO)
        with contextlib.ExitStack() as running:
            callers = [
                running.enter_context(changing(service.url, root, SEED + number + each, folder / "log"))
                for each in range(AT_ONCE)
            ]
            callers[0].join(timeout=chance.uniform(0, 4 * LONGEST_LIFE_SECONDS))
            service.stop(signal.SIGKILL)
            for caller in callers:
                caller.join(timeout=60)
                assert caller.exitcode == 0
        ledger.check(root)
    service = serve(engine_class=ECHO)
    listed = service.client.get("/models").raise_for_status().json()["models"]
    eventually(lambda: list((root / ".store/staging").iterdir()) == [])
    assert {model["name"] for model in listed} == {
        str(path.relative_to(root)) for path, _ in everything(root) if ".store" not in path.parts
    }
    service.stop()
    check_after_a_sweep(opened(root))
    ledger.check(root)


def test_processes_killed_anywhere_lose_nothing(tmp_path: Path) -> None:
    """A dozen kills; TEST_SEED repeats a run as far as the machine lets it."""
    crash_again_and_again(tmp_path, 12)


def test_a_killed_service_loses_nothing(serve: Serve, tmp_path: Path) -> None:
    """Two kills."""
    kill_the_service(serve, tmp_path, 2)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_thousand_kills_lose_nothing(tmp_path: Path) -> None:
    """Of processes with a store of their own."""
    crash_again_and_again(tmp_path, 1000)


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_fifty_kills_of_the_service_lose_nothing(serve: Serve, tmp_path: Path) -> None:
    """Through HTTP."""
    kill_the_service(serve, tmp_path, 50)
