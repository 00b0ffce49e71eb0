"""Services on one folder find each other, and find out whether their locks reach each other."""

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
from tests.support.memory import kept_bytes
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
"""Simulates a service on another machine whose locks are not visible here: it takes no lock."""


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


def check_until(watch: VolumeMonitor, is_so: Callable[[], object]) -> None:
    def look() -> object:
        watch.check()
        return is_so()

    eventually(look)


def test_a_service_that_sees_the_locks_of_others_may_change_the_folder(store: Store, watch: VolumeMonitor) -> None:
    """The volume stays safe beside a service whose lock is visible, and after that service is killed."""
    with python(BEATS, store.volume.services_dir) as other:
        for _ in range(5):
            watch.check()
            assert store.volume.unsafe is None
        other.kill()
        other.wait()
        watch.check()
        assert store.volume.unsafe is None
    store.deletions.delete(store.deletions.plan("a.bin"))


def test_a_service_that_does_not_see_the_lock_of_another_refuses_changes(
    store: Store, watch: VolumeMonitor, events: list[tuple[str, str | None]]
) -> None:
    """Changes raise StoreUnsafe from the first look until the other service has ended."""
    with python(BEATS_WITHOUT_A_LOCK, store.volume.services_dir):
        watch.check()
        with pytest.raises(StoreUnsafe, match="not known yet"):
            store.deletions.plan("a.bin")
        check_until(watch, lambda: "do not reach" in str(store.volume.unsafe))
        with pytest.raises(StoreUnsafe, match="OCR_SINGLE_SERVICE"):
            store.deletions.plan("a.bin")
        assert store.find("a.bin")
    check_until(watch, lambda: store.volume.unsafe is None)

    store.deletions.delete(store.deletions.plan("a.bin"))
    reported = [event for event in events if event[1] == "shared-locks"]
    assert reported == [("volume.check_failed", "shared-locks"), ("volume.check_passed", "shared-locks")]


def test_a_single_service_may_change_the_folder_although_the_check_fails(store: Store) -> None:
    """With `is_single` a deletion succeeds, and the check still reports the other service."""
    watch = VolumeMonitor(store.volume, lambda *_: None, is_single=True)
    with python(BEATS_WITHOUT_A_LOCK, store.volume.services_dir):
        check_until(watch, lambda: any("do not reach" in str(check.reason) for check in watch.checks))

        store.deletions.delete(store.deletions.plan("a.bin"))
    watch.close()


def test_a_command_waits_until_it_knows_whether_other_services_live(store: Store) -> None:
    """A killed service's file delays a command for seconds; a living service without a visible lock makes it unsafe."""
    (store.volume.services_dir / "0123456789abcdef.7").touch()
    VolumeMonitor(store.volume, lambda *_: None).check_before_change()
    assert store.volume.unsafe is None

    with python(BEATS_WITHOUT_A_LOCK, store.volume.services_dir):
        VolumeMonitor(store.volume, lambda *_: None).check_before_change()
        assert "do not reach" in str(store.volume.unsafe)


def test_a_service_joins_again_when_its_file_was_removed(tmp_path: Path) -> None:
    """If the file of a service is deleted, the next `beat` creates another."""
    services = ServiceRegistry(tmp_path / "services")
    services.beat()
    for path in (tmp_path / "services").iterdir():
        path.unlink()
    services.beat()

    assert len(os.listdir(tmp_path / "services")) == 1
    services.leave()
    assert os.listdir(tmp_path / "services") == []


def test_nothing_is_kept_of_a_service_that_has_left(tmp_path: Path) -> None:
    """A replica that starts and ends again and again has a new id each time, and the other one keeps none of them."""
    services = ServiceRegistry(tmp_path / "services", is_shared=False)
    services.beat()

    def come_and_go(count: int) -> None:
        for _ in range(count):
            other = ServiceRegistry(tmp_path / "services", is_shared=False)
            other.beat()
            services.look()
            assert services.living == {other.id}
            other.leave()
        services.look()

    come_and_go(5)
    assert kept_bytes(lambda: come_and_go(400)) < 10_000
    services.leave()
