"""A wrong or jumping clock deletes nothing early. The clock of real services and processes is set by libfaketime."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.store.expiry import Expiry, FolderClock
from tests.support import tus
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

FAR = "+4000d"
"""Later than every retention."""


class Clock:
    """The clock of one service, which can be set while the service runs."""

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
        """The wrapper of a service that has this clock. Its monotonic clock is the real one, as after a real jump."""
        libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
        if not libraries or shutil.which("faketime") is None:
            pytest.skip("libfaketime is not installed")
        settings = {
            "LD_PRELOAD": libraries[0],
            "FAKETIME_TIMESTAMP_FILE": self._file,
            "FAKETIME_NO_CACHE": 1,
            "DONT_FAKE_MONOTONIC": 1,
            "FAKETIME_DONT_FAKE_MONOTONIC": 1,
            "NO_FAKE_STAT": 1,
        }
        return ("env", *(f"{name}={value}" for name, value in settings.items()))


@pytest.fixture
def clock(tmp_path: Path) -> Clock:
    return Clock(tmp_path)


@pytest.fixture
def service(tmp_path: Path, clock: Clock) -> Iterator[RunningService]:
    """A service with a clock of its own."""
    with started(tmp_path, clock) as running:
        yield running


def started(folder: Path, clock: Clock) -> RunningService:
    return RunningService(folder, wrapper=clock.wrapper, engine_class=ECHO)


def fill(service: RunningService) -> str:
    """Make a deleted model, an unfinished upload and a finished job; return the upload's path."""
    service.client.put("/models/a.bin", content=b"deleted").raise_for_status()
    service.client.delete("/models/a.bin").raise_for_status()
    path = tus.begun(service, "b.bin", 8)
    tus.append(service, path, 0, b"half").raise_for_status()
    service.client.put("/models/c.bin", content=b"deleted later").raise_for_status()
    return path


def check_kept(service: RunningService, path: str) -> None:
    """Check after two sweeps that all is still there."""
    wait_for_sweeps(service)
    assert [entry["name"] for entry in service.client.get("/trash").json()["entries"]] == ["a.bin"]
    assert tus.offset_of(service, path) == 4


def wait_for_sweeps(service: RunningService) -> None:
    """Wait until a sweep that began after this call has ended: it removes a file that no process writes."""
    for number in range(2):
        stray = service.models_dir / f".store/staging/{number:032x}.part"
        stray.touch()
        eventually(lambda stray=stray: not stray.exists(), within=60)


@pytest.mark.slow
def test_a_clock_that_jumps_forward_purges_nothing(service: RunningService, clock: Clock) -> None:
    """After a jump far beyond every retention the trash and the unfinished upload are kept, also after a restart."""
    path = fill(service)
    wait_for_sweeps(service)

    clock.set(FAR)

    check_kept(service, path)
    service.stop()
    with started(service.folder, clock) as again:
        check_kept(again, path)


@pytest.mark.slow
def test_what_was_deleted_while_the_clock_was_late_is_kept(service: RunningService, clock: Clock) -> None:
    """A model that is deleted while the clock is far back is not purged when the clock is right again."""
    wait_for_sweeps(service)
    clock.set("-400d")
    path = fill(service)
    wait_for_sweeps(service)

    clock.set("+0")

    check_kept(service, path)


@pytest.mark.slow
def test_a_replica_whose_clock_is_far_ahead_purges_nothing(service: RunningService, tmp_path: Path) -> None:
    """A second service on the folder, whose clock is years ahead, keeps what the first one has deleted and begun."""
    path = fill(service)
    wait_for_sweeps(service)

    (tmp_path / "ahead").mkdir()
    ahead = Clock(tmp_path / "ahead", FAR)
    with RunningService(
        tmp_path / "ahead", wrapper=ahead.wrapper, engine_class=ECHO, models_dir=service.models_dir
    ) as other:
        check_kept(other, path)
        check_kept(service, path)


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
