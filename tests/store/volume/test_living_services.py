"""What the services on one folder tell each other: which live, and what each of them is and does."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.store.policy import Policy
from app.store.store import Store
from app.store.volume.filesystem import FileSystem
from app.store.volume.living_services import LEAST_SECONDS, MOST_SECONDS, SILENT_SECONDS, LivingService, LivingServices
from app.store.volume.monitor import VolumeMonitor
from app.store.volume.service_records import LoadedRecord, ServiceRecord
from app.store.volume.service_registry import FORGOTTEN_SECONDS, ServiceRegistry
from tests.support.processes import python
from tests.support.waiting import eventually

NOW = datetime.now(UTC)
SERVES = """
import sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from app.store.policy import Policy
from app.store.store import Store
from app.store.volume.filesystem import FileSystem
from app.store.volume.monitor import VolumeMonitor
from app.store.volume.service_records import LoadedRecord, ServiceRecord
file_system = FileSystem(sys.argv[2])
store = Store(Path(sys.argv[1]), Policy(), trash_retention=timedelta(days=1), on_event=print, file_system=file_system)
store.open()
monitor = VolumeMonitor(store.volume, lambda *_: None)
while True:
    loaded = LoadedRecord("spell-check", "a.gguf", datetime.now(UTC), 5)
    monitor.services.describe(ServiceRecord(datetime.now(UTC), "other", loaded=loaded, engine_state="ready"))
    monitor.check()
    print("looked", flush=True)
    time.sleep(0.2)
"""
"""A process that does with the folder what a service does: its arguments are the folder and the file system."""


@pytest.fixture(params=["ext4", "nfs4"], ids=["local", "shared"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return a store on a local disk, and on a volume that counts as one of a network."""
    file_system = FileSystem(request.param)
    assert file_system.is_local == (request.param == "ext4")
    store = Store(
        tmp_path / "models",
        Policy(),
        trash_retention=timedelta(days=1),
        on_event=lambda *_: None,
        file_system=file_system,
    )
    store.open()
    return store


@contextmanager
def watching(store: Store, *, is_observer: bool = False) -> Iterator[VolumeMonitor]:
    watch = VolumeMonitor(store.volume, lambda *_: None, is_observer=is_observer)
    watch.services.describe(ServiceRecord(NOW, "mine"))
    yield watch
    watch.close()


def look_until(watch: VolumeMonitor, is_so: Callable[[tuple[LivingService, ...]], object]) -> tuple[LivingService, ...]:
    def look() -> tuple[LivingService, ...] | None:
        watch.check()
        found = watch.services.living_services()
        return found if is_so(found) else None

    return eventually(look)


def names(found: tuple[LivingService, ...]) -> list[str | None]:
    return [each.record.name if each.record else None for each in found]


def test_a_service_sees_what_the_others_have_loaded_until_they_are_killed(store: Store) -> None:
    """Two services are seen with their records, and one that is killed is seen no longer."""
    folder, kind = store.root, store.volume.file_system.kind
    with watching(store) as watch, python(SERVES, folder, kind) as one, python(SERVES, folder, kind):
        own, *others = look_until(watch, lambda found: len(found) == 3)
        assert names((own, *others)) == ["mine", "other", "other"]
        assert own.is_self
        assert not own.has_loaded("spell-check")
        assert [each.has_loaded("spell-check") for each in others] == [True, True]
        assert [each.has_loaded("summary") for each in others] == [False, False]

        one.kill()
        one.wait()
        left = look_until(watch, lambda found: len(found) == 2)
        assert names(left) == ["mine", "other"]
    with watching(store) as watch:  # the other one has been killed too
        look_until(watch, lambda found: len(found) == 1)


def test_a_read_only_service_sees_the_others_and_writes_nothing(store: Store) -> None:
    """It shows itself from memory, and leaves the folder of the services as it was, also if it must not be written."""
    with python(SERVES, store.root, store.volume.file_system.kind) as other, watching(store, is_observer=True) as watch:
        eventually(lambda: list(store.volume.services_dir.glob("*.json")))
        found = look_until(watch, lambda found: len(found) == 2)
        assert names(found) == ["mine", "other"]

        other.kill()
        other.wait()
        before = sorted(os.listdir(store.volume.services_dir))
        assert names(look_until(watch, lambda found: len(found) == 1)) == ["mine"]
        assert sorted(os.listdir(store.volume.services_dir)) == before


def test_a_service_leaves_nothing_in_the_folder(store: Store) -> None:
    """After its end neither its record nor its lock is left."""
    with watching(store) as watch:
        watch.check()
        assert len(os.listdir(store.volume.services_dir)) == 2
    assert os.listdir(store.volume.services_dir) == []


class Clock:
    """A clock that tests set."""

    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def of_other(store: Store, clock: Clock) -> tuple[LivingServices, Path]:
    """Return the services as one service sees them that takes the one with the id `aa...` for a living one."""
    registry = ServiceRegistry(store.volume.services_dir, is_shared=False)
    registry.living, registry.names = frozenset({"aa" * 8}), (f"{'aa' * 8}.1.json",)
    return LivingServices(store.volume, registry, clock=clock), store.volume.services_dir / registry.names[0]


LOADED = {"processor": "spell-check", "model": "a.gguf", "since": NOW.isoformat(), "mapped_bytes": 5}
RECORD = {"written_at": NOW.isoformat(), "name": "other"}


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (json.dumps(RECORD), "other"),
        (json.dumps(RECORD | {"of_a_newer_version": [1], "engine_state": "dreaming"}), "other"),
        (json.dumps({"written_at": NOW.isoformat()}), None),
        (json.dumps(RECORD | {"name": "x" * 101}), None),
        (
            json.dumps(RECORD | {"loaded": LOADED | {"model": "../a"}}),
            None,
        ),
        (json.dumps(RECORD | {"works": "x" * 70_000}), None),
        ("{", None),
    ],
    ids=["valid", "newer", "older", "long-name", "path-outside", "too-large", "cut"],
)
def test_records_of_other_versions_and_hostile_ones(store: Store, clock: Clock, content: str, name: str | None) -> None:
    """Unknown and missing fields are no error; a record that is damaged or too large is left out, not the service."""
    services, path = of_other(store, clock)
    path.write_text(content)

    services.refresh()

    assert names(services.living_services()) == [name]


def test_a_link_is_no_record(store: Store, clock: Clock, tmp_path: Path) -> None:
    """A record that is a link is not followed."""
    services, path = of_other(store, clock)
    (tmp_path / "elsewhere").write_text(json.dumps(RECORD))
    path.symlink_to(tmp_path / "elsewhere")

    services.refresh()

    assert names(services.living_services()) == [None]


def test_a_service_that_writes_no_record_any_more_is_silent(store: Store, clock: Clock) -> None:
    """A stopped service has nothing loaded for others; its next record ends that."""
    services, path = of_other(store, clock)
    record = RECORD | {"loaded": LOADED}
    path.write_text(json.dumps(record))
    services.refresh()
    clock.seconds += SILENT_SECONDS
    services.refresh()

    (silent,) = services.living_services()
    assert (silent.is_silent, silent.has_loaded("spell-check")) == (True, False)

    path.rename(path.with_name(f"{'aa' * 8}.2.json"))
    services._registry.names = (f"{'aa' * 8}.2.json",)
    services.refresh()
    (heard,) = services.living_services()
    assert (heard.is_silent, heard.has_loaded("spell-check")) == (False, True)


def test_a_record_is_written_when_it_changes_but_not_too_often(store: Store, clock: Clock) -> None:
    """A change is written at once, a further one after a pause, and an unchanged record after a longer one."""
    services = LivingServices(store.volume, ServiceRegistry(store.volume.services_dir, is_shared=False), clock=clock)

    def written(record: ServiceRecord, *, later: float) -> int:
        """Return the number of the record in the folder."""
        clock.seconds += later
        services.describe(record)
        services.refresh()
        (path,) = store.volume.services_dir.iterdir()
        return int(path.name.split(".")[1])

    first = ServiceRecord(NOW, "mine")
    loaded = ServiceRecord(NOW, "mine", loaded=LoadedRecord("spell-check", "a.gguf", NOW, 5))
    assert written(first, later=0) == 1
    assert written(loaded, later=LEAST_SECONDS / 2) == 1
    assert written(loaded, later=LEAST_SECONDS / 2) == 2
    assert written(ServiceRecord(NOW + timedelta(1), "mine", loaded=loaded.loaded), later=LEAST_SECONDS) == 2
    assert written(loaded, later=MOST_SECONDS - LEAST_SECONDS) == 3


def test_what_dead_services_left_is_deleted_after_a_while(store: Store, clock: Clock) -> None:
    """Records and drafts without a living service are deleted, and what is no record stays."""
    folder = store.volume.services_dir
    registry = ServiceRegistry(folder, is_shared=False)
    services = LivingServices(store.volume, registry, clock=clock)
    registry.names = (f"{'bb' * 8}.3.json", f".{'bb' * 8}.json", "notes.json", f"{registry.id}.1.json")
    for name in registry.names:
        (folder / name).touch()
    services.refresh()
    clock.seconds += FORGOTTEN_SECONDS + 1
    services.refresh()

    assert sorted(os.listdir(folder)) == sorted(["notes.json", f"{registry.id}.1.json"])
