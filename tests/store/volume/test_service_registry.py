"""Services on one folder see each other, and see whether locks reach from one to the other."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from app.errors import StoreUnsafe
from app.store.policy import Policy
from app.store.store import Store
from app.store.volume.filesystem import FileSystem
from app.store.volume.monitor import VolumeMonitor
from app.store.volume.service_registry import ServiceRegistry
from tests.support.processes import python
from tests.support.waiting import eventually

BEATS = """
import sys, time
from pathlib import Path
from app.store.volume.service_registry import ServiceRegistry
services = ServiceRegistry(Path(sys.argv[1]))
services.beat()
print("beats", flush=True)
while True:
    time.sleep(0.2)
    services.beat()
"""
BEATS_WITHOUT_A_LOCK = BEATS.replace(
    "services.beat()\nprint",
    "from app.store.volume import service_registry as module\nmodule.try_lock_file = bool\nservices.beat()\nprint",
)
"""Stands in for a service on another machine whose locks do not reach this one: here every lock reaches."""


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = Store(
        tmp_path / "models",
        Policy(),
        trash_retention=timedelta(days=1),
        on_event=lambda *_: None,
        file_system=FileSystem("nfs4"),
    )
    store.open()
    (store.root / "a.bin").touch()
    return store


@pytest.fixture
def events() -> list[tuple[str, str | None]]:
    return []


@pytest.fixture
def watch(store: Store, events: list[tuple[str, str | None]]) -> Iterator[VolumeMonitor]:
    watch = VolumeMonitor(store.volume, lambda event, fields: events.append((event, fields["check"])))
    yield watch
    watch.close()


def looks_until(watch: VolumeMonitor, is_so: Callable[[], object]) -> None:
    def look() -> object:
        watch.check()
        return is_so()

    eventually(look, within=10)


def test_a_service_beside_others_whose_locks_reach_it_may_change_the_folder(store: Store, watch: VolumeMonitor) -> None:
    """At once, and also after one of them was killed."""
    with python(BEATS, store.volume.services_dir) as other:
        for _ in range(5):
            watch.check()
            assert store.volume.unsafe is None
        other.kill()
        other.wait()
        watch.check()
        assert store.volume.unsafe is None
    store.deletions.delete(store.deletions.plan("a.bin"))


def test_a_service_whose_locks_do_not_reach_another_changes_nothing(
    store: Store, watch: VolumeMonitor, events: list[tuple[str, str | None]]
) -> None:
    """Neither before it is known that the other lives nor after; when the other has ended it does."""
    with python(BEATS_WITHOUT_A_LOCK, store.volume.services_dir):
        watch.check()
        with pytest.raises(StoreUnsafe, match="not known yet"):
            store.deletions.plan("a.bin")
        looks_until(watch, lambda: "do not reach" in str(store.volume.unsafe))
        with pytest.raises(StoreUnsafe, match="OCR_SINGLE_SERVICE"):
            store.deletions.plan("a.bin")
        assert store.find("a.bin")
    looks_until(watch, lambda: store.volume.unsafe is None)

    store.deletions.delete(store.deletions.plan("a.bin"))
    told = [event for event in events if event[1] == "shared-locks"]
    assert told == [("volume.check_failed", "shared-locks"), ("volume.check_passed", "shared-locks")]


def test_an_operator_may_state_that_a_service_is_the_only_one(store: Store) -> None:
    """Then it changes the folder, and the check says still what is so."""
    watch = VolumeMonitor(store.volume, lambda *_: None, is_single=True)
    with python(BEATS_WITHOUT_A_LOCK, store.volume.services_dir):
        looks_until(watch, lambda: any("do not reach" in str(check.reason) for check in watch.checks))

        store.deletions.delete(store.deletions.plan("a.bin"))
    watch.close()


def test_a_command_waits_until_it_is_known_whether_another_lives(store: Store) -> None:
    """What a killed service left holds it up for seconds; a living one whose locks do not reach refuses it."""
    (store.volume.services_dir / "0123456789abcdef.7").touch()
    VolumeMonitor(store.volume, lambda *_: None).check_before_change()
    assert store.volume.unsafe is None

    with python(BEATS_WITHOUT_A_LOCK, store.volume.services_dir):
        VolumeMonitor(store.volume, lambda *_: None).check_before_change()
        assert "do not reach" in str(store.volume.unsafe)


def test_a_service_joins_again_when_its_file_was_removed(tmp_path: Path) -> None:
    """Whoever emptied the folder, or took it for dead."""
    services = ServiceRegistry(tmp_path / "services")
    services.beat()
    for path in (tmp_path / "services").iterdir():
        path.unlink()
    services.beat()

    assert len(os.listdir(tmp_path / "services")) == 1
    services.leave()
    assert os.listdir(tmp_path / "services") == []
