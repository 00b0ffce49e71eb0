"""A wrong or jumping clock deletes nothing early. libfaketime sets the clock of the processes here."""

import json
import shutil
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from app.store.expiry import Expiry, FolderClock
from tests.support.service import ROOT
from tests.support.waiting import eventually

FAR = "+3653d"
"""Later than every retention."""


class Clock:
    """The clock of one process, which can be set while the process runs."""

    def __init__(self, folder: Path, offset: str = "+0") -> None:
        """`offset` is added to the time, such as `-10d`."""
        self._file = folder / "clock"
        self.set(offset)

    def set(self, offset: str) -> None:
        """Set the clock by an offset from the right time."""
        draft = self._file.with_suffix(".new")
        draft.write_text(offset + "\n")
        draft.rename(self._file)

    @property
    def wrapper(self) -> tuple[str, ...]:
        """The wrapper of a process that has this clock. Its monotonic clock is the real one, as after a real jump."""
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries or shutil.which("faketime") is None:
            pytest.skip("libfaketime is not installed")
        settings = {
            "LD_PRELOAD": libraries[0],
            "FAKETIME_TIMESTAMP_FILE": self._file,
            "FAKETIME_CACHE_DURATION": 1,
            "DONT_FAKE_MONOTONIC": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
            "NO_FAKE_STAT": 1,
        }
        return ("env", *(f"{name}={value}" for name, value in settings.items()))


RUNS = """
import json, secrets, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from app.build import build_jobs
from app.jobs.sweep import sweep_jobs
from app.store import Actor, Conditions, PartialRecord, Policy, Store
from tests.support.held_jobs import create_pull, finish_pull
me, day = Actor("me"), timedelta(days=1)
store = Store(Path(sys.argv[1]), Policy(), trash_retention=day, on_event=lambda *_: None)
store.open()
jobs = build_jobs(store)
for line in sys.stdin:
    if line.strip() == "fill":
        staged = store.incoming.begin()
        staged.write(b"deleted")
        store.incoming.publish("a.bin", staged, Conditions(), me)
        staged.discard()
        store.deletions.delete(store.deletions.plan("a.bin"))
        now = datetime.now(UTC)
        record = PartialRecord(secrets.token_hex(16), "b.bin", "upload", "me", 8, now, day)
        store.incoming.begin((), 8, keep=record).release()
        finish_pull(jobs, create_pull(jobs))
    store.sweep()
    sweep_jobs(jobs, day)
    counts = len(store.trash.entries()), len(store.incoming.partials()), len(list(jobs.newest()))
    print(json.dumps([datetime.now(UTC).isoformat(), counts]), flush=True)
"""


class Sweeper:
    """A process with a clock of its own that sweeps a folder as a service does, once for each `sweep`."""

    def __init__(self, root: Path, clock: Clock) -> None:
        self._process = subprocess.Popen(
            [*clock.wrapper, sys.executable, "-c", RUNS, str(root)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> "Sweeper":
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def fill(self) -> list[int]:
        """Delete a model, begin an upload and finish a job; return what is there after a sweep, as `sweep` does."""
        return list(self._ask("fill")[1])

    def sweep(self) -> list[int]:
        """Sweep, and return the numbers of trash entries, unfinished uploads and jobs."""
        return list(self._ask("sweep")[1])

    def wait_for_year(self, year: int) -> None:
        """Wait until the process has noticed that its clock was set."""
        eventually(lambda: self._ask("sweep")[0].startswith(str(year)), within=60)

    def _ask(self, what: str) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(what + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


ALL = [1, 1, 1]
THIS_YEAR = datetime.now(UTC).year


def test_a_clock_that_jumps_forward_deletes_nothing(tmp_path: Path) -> None:
    """After a jump far beyond every retention all is kept, also by a process that starts with that clock."""
    clock = Clock(tmp_path)
    with Sweeper(tmp_path / "models", clock) as sweeper:
        assert sweeper.fill() == ALL
        clock.set(FAR)
        sweeper.wait_for_year(THIS_YEAR + 10)
        assert sweeper.sweep() == ALL
    with Sweeper(tmp_path / "models", clock) as again:
        assert again.sweep() == ALL
        assert again.sweep() == ALL


def test_what_was_deleted_while_the_clock_was_late_is_kept(tmp_path: Path) -> None:
    """What was deleted, begun and finished while the clock was far back is kept when the clock is right again."""
    clock = Clock(tmp_path)
    with Sweeper(tmp_path / "models", clock) as sweeper:
        assert sweeper.sweep() == [0, 0, 0]
        clock.set("-3650d")
        sweeper.wait_for_year(THIS_YEAR - 10)
        assert sweeper.fill() == ALL
        clock.set("+0")
        sweeper.wait_for_year(THIS_YEAR)
        assert sweeper.sweep() == ALL


def test_a_replica_whose_clock_is_far_ahead_deletes_nothing(tmp_path: Path) -> None:
    """A second process on the folder, whose clock is years ahead, keeps what the first one has and then makes."""
    (tmp_path / "ahead").mkdir()
    with Sweeper(tmp_path / "models", Clock(tmp_path)) as right:
        assert right.fill() == ALL
        with Sweeper(tmp_path / "models", Clock(tmp_path / "ahead", FAR)) as ahead:
            assert ahead.sweep() == ALL
            assert right.fill() == [2, 2, 2]
            assert ahead.sweep() == [2, 2, 2]


def test_what_appears_later_is_kept_for_its_whole_time(tmp_path: Path) -> None:
    """What is new to a running service has its whole time by the monotonic clock, whenever it claims to expire."""
    expiry = Expiry(FolderClock(tmp_path / "clock", tmp_path / "none"))
    now, day = datetime.now(UTC), timedelta(days=1)

    assert expiry.is_over("expired before the start", now - day, day)
    assert not expiry.is_over("expires later", now + day, 2 * day)
    expiry.seen_all({"expired before the start", "expires later"})
    assert not expiry.is_over("new", now - day, day)
    assert expiry.is_over("expired before the start", now - day, day)
    assert expiry.is_over("new, kept for no time", now, timedelta(0))


def test_a_service_that_starts_believes_the_kept_time_and_not_a_later_clock(tmp_path: Path) -> None:
    """What expires between the kept time and the system's clock is kept: the clock may be ahead."""
    path, now = tmp_path / "clock", datetime.now(UTC)
    path.write_text(f'{{"at": "{now - timedelta(days=30):%Y-%m-%dT%H:%M:%S+00:00}"}}')
    expiry = Expiry(FolderClock(path, tmp_path / "none"))

    assert not expiry.is_over("expired since", now - timedelta(days=1), timedelta(days=60))
    assert expiry.is_over("expired before", now - timedelta(days=31), timedelta(days=60))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"at": 1}', '{"at": "2026-01-01"}', "[" * 100_000, "\x00"])
def test_a_damaged_file_of_the_time_is_none(tmp_path: Path, text: str) -> None:
    """A file that cannot be read counts as missing: then the system's clock is used."""
    (tmp_path / "clock").write_text(text)
    clock = FolderClock(tmp_path / "clock", tmp_path / "none")

    assert abs(clock.now() - datetime.now(UTC)) < timedelta(minutes=1)
    clock.keep()
    assert abs(FolderClock(tmp_path / "clock", tmp_path / "none").now() - datetime.now(UTC)) < timedelta(minutes=1)
