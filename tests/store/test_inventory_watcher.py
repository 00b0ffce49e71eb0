"""The inventory watcher shows every change of the folder within a second."""

import asyncio
import errno
import gc
import os
import shutil
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from inotify_simple import INotify

from app.errors import StoreUnavailable
from app.store.inventory import Inventory
from app.store.inventory_watcher import InventoryWatcher
from app.store.locks.model_locks import is_leased
from app.store.policy import Policy
from app.store.store import Store
from app.store.volume.filesystem import FileSystem
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

STALENESS_SECONDS = 1.0
"""The most time after which a change must be in the inventory."""


class WatchedFolder:
    """A model folder with a running watcher, and the events that the watcher has reported."""

    def __init__(self, root: Path, file_system: FileSystem | None = None) -> None:
        self.root = root
        self.store = Store(
            root, Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None, file_system=file_system
        )
        self.store.open()
        self.changes = 0
        self.events: list[tuple[str, dict[str, Any]]] = []
        self.watcher = InventoryWatcher(
            self.store, on_change=self._count, on_event=lambda event, fields: self.events.append((event, fields))
        )

    def _count(self) -> None:
        self.changes += 1

    async def shows(self, probe: Callable[[Inventory], bool]) -> None:
        """Wait for the inventory to satisfy a condition; fail after STALENESS_SECONDS."""
        await eventually_async(
            lambda: self.watcher.inventory is not None and probe(self.watcher.inventory), within=STALENESS_SECONDS
        )


@asynccontextmanager
async def watched_folder(root: Path, file_system: FileSystem | None = None) -> AsyncIterator[WatchedFolder]:
    """Run a watcher on a folder while the block lasts."""
    watched = WatchedFolder(root, file_system)
    task = asyncio.create_task(watched.watcher.run())
    try:
        await watched.watcher.current_when_scanned()
        yield watched
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture(params=["notified", "rescanned"])
async def watched(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[WatchedFolder]:
    """A watched folder on this file system, and one whose file system is taken for NFS, which does not notify."""
    file_system = FileSystem("nfs4") if request.param == "rescanned" else None
    async with watched_folder(tmp_path / "models", file_system) as folder:
        yield folder


async def test_every_change_of_the_folder_is_in_the_inventory_within_a_second(watched: WatchedFolder) -> None:
    """Files and folders that other programs add, grow, replace, move or remove are in the inventory in a second."""
    path = watched.root / "a.bin"
    path.write_bytes(b"x")
    await watched.shows(lambda inventory: list(inventory.models) == ["a.bin"])

    with path.open("ab") as growing:
        growing.write(b"yz")
    await watched.shows(lambda inventory: inventory.models["a.bin"].size_bytes == 3)

    inode = path.stat().st_ino
    (watched.root / ".incoming").write_bytes(b"new")
    (watched.root / ".incoming").rename(path)
    await watched.shows(lambda inventory: inventory.models["a.bin"].inode != inode)

    (watched.root / "org_repo/deep").mkdir(parents=True)
    (watched.root / "org_repo/deep/b.gguf").touch()
    await watched.shows(lambda inventory: "org_repo/deep/b.gguf" in inventory.models)

    (watched.root / "org_repo").rename(watched.root / "moved")
    await watched.shows(lambda inventory: list(inventory.models) == ["a.bin", "moved/deep/b.gguf"])

    shutil.rmtree(watched.root / "moved")
    path.unlink()
    await watched.shows(lambda inventory: not inventory.models)


async def test_leases_show_within_a_second(watched: WatchedFolder) -> None:
    """The beginning and the end of a lease show in `leased_positions` within a second."""
    with watched.store.locks.lease("a.bin"):
        await eventually_async(lambda: is_leased("a.bin", watched.watcher.leased_positions), within=STALENESS_SECONDS)
    await eventually_async(lambda: not watched.watcher.leased_positions, within=STALENESS_SECONDS)


async def test_a_missing_folder_is_unavailable_until_it_is_back(watched: WatchedFolder) -> None:
    """A missing folder raises StoreUnavailable, not an empty inventory; when it is back, its changes show again."""
    (watched.root / "a.bin").touch()
    await watched.shows(lambda inventory: len(inventory.models) == 1)
    away = watched.root.with_name("away")

    watched.root.rename(away)
    await eventually_async(lambda: watched.watcher.inventory is None, within=STALENESS_SECONDS)
    with pytest.raises(StoreUnavailable, match="missing"):
        watched.watcher.current()

    away.rename(watched.root)
    await watched.shows(lambda inventory: len(inventory.models) == 1)
    (watched.root / "b.bin").touch()
    await watched.shows(lambda inventory: len(inventory.models) == 2)
    assert [event for event, _ in watched.events] == ["store.unavailable", "store.available"]


async def test_a_scan_without_changes_keeps_the_inventory_object(tmp_path: Path) -> None:
    """A scan that finds no change keeps the identical inventory object and does not call `on_change`."""
    async with watched_folder(tmp_path / "models") as watched:
        (watched.root / "a.bin").touch()
        await watched.shows(lambda inventory: len(inventory.models) == 1)
        before, changes = watched.watcher.inventory, watched.changes

        await watched.watcher.scan()

        assert watched.watcher.inventory is before
        assert watched.changes == changes


async def test_a_removed_model_leaves_the_inventory_at_once(tmp_path: Path) -> None:
    """`remove` removes a model at once, and a scan that began before does not bring the model back."""
    async with watched_folder(tmp_path / "models") as watched:
        (watched.root / "a.bin").touch()
        await watched.shows(lambda inventory: len(inventory.models) == 1)
        slow_scan = asyncio.create_task(watched.watcher.scan())
        await asyncio.sleep(0)
        (watched.root / "a.bin").unlink()

        watched.watcher.remove("a.bin")
        assert watched.watcher.inventory is not None
        assert not watched.watcher.inventory.models
        await slow_scan
        assert not watched.watcher.inventory.models


def watches_of_this_process() -> int:
    """Count the inotify watches of this process."""
    count = 0
    for info in Path("/proc/self/fdinfo").iterdir():
        with suppress(FileNotFoundError):  # another thread has closed it
            count += info.read_text().count("inotify wd:")
    return count


async def test_links_are_not_watched(tmp_path: Path) -> None:
    """A link to a large tree takes no watch and reports no change, a link to /proc does no harm."""
    elsewhere = tmp_path / "elsewhere"
    for number in range(50):
        (elsewhere / f"{number}" / "deep").mkdir(parents=True)
    root = tmp_path / "models"
    (root / "real/deep").mkdir(parents=True)
    (root / "tree").symlink_to(elsewhere)
    (root / "real/proc").symlink_to("/proc")
    (root / "self").symlink_to(".")
    before = watches_of_this_process()
    async with watched_folder(root) as watched:
        await watched.shows(lambda inventory: len(inventory.warnings) == 3)
        assert watches_of_this_process() - before == 3  # the folder itself, `real` and `real/deep`

        (root / "later").symlink_to(elsewhere)
        (root / "real/deep/a.bin").touch()
        await watched.shows(lambda inventory: len(inventory.warnings) == 4 and "real/deep/a.bin" in inventory.models)
        assert watches_of_this_process() - before == 3
        assert watched.events == []


async def test_a_moved_folder_is_watched_by_its_new_name_and_not_outside(tmp_path: Path) -> None:
    """Changes in a moved folder show under its new name. A folder that is moved out is no longer watched."""
    root = tmp_path / "models"
    (root / "a/deep").mkdir(parents=True)
    before = watches_of_this_process()
    async with watched_folder(root) as watched:
        (root / "a").rename(root / "b")
        (root / "b/deep/x.bin").touch()
        await watched.shows(lambda inventory: list(inventory.models) == ["b/deep/x.bin"])
        (root / "b/deep/y.bin").touch()
        await watched.shows(lambda inventory: "b/deep/y.bin" in inventory.models)
        (root / "b").rename(tmp_path / "outside")
        await watched.shows(lambda inventory: not inventory.models)
        await eventually_async(lambda: watches_of_this_process() - before == 1, within=30)


async def test_a_folder_with_more_entries_than_an_update_reads_is_shown(tmp_path: Path) -> None:
    """A folder with thousands of models that is moved in is shown by a scan, and its changes are reported."""
    root, full = tmp_path / "models", tmp_path / "full"
    full.mkdir()
    for number in range(3000):
        (full / f"{number}.bin").touch()
    async with watched_folder(root) as watched:
        full.rename(root / "full")
        await eventually_async(lambda: len(watched.watcher.current().models) == 3000, within=30)
        (root / "full/0.bin").unlink()
        await watched.shows(lambda inventory: len(inventory.models) == 2999)


async def test_garbage_collections_leave_many_models_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a scan that found many models no garbage collection visits them, and those that go are freed all the same.

    A full collection of 100,000 models delays all requests, on a busy machine by half a second.
    """
    monkeypatch.setattr("app.store.inventory_watcher.MANY_MODELS", 2)  # to make 10,000 files would take a second
    gc.unfreeze()
    try:
        async with watched_folder(tmp_path / "models") as watched:
            assert gc.get_freeze_count() == 0
            (watched.root / "0.bin").touch()
            (watched.root / "1.bin").touch()
            await watched.watcher.scan()
            frozen = gc.get_freeze_count()
            collected = {id(item) for item in gc.get_objects()}
            assert frozen > 0
            assert not any(id(model) in collected for model in watched.watcher.current().models.values())
            await watched.watcher.scan()
            assert gc.get_freeze_count() <= frozen
    finally:
        gc.unfreeze()


async def test_without_watches_the_folder_is_scanned_and_that_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the user has no inotify watch left, the event names the setting, no watch is kept, and changes still show.

    A fake: to use up the watches of the user would disturb other processes.
    """

    def fail(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    before = watches_of_this_process()
    (tmp_path / "models/folder").mkdir(parents=True)
    monkeypatch.setattr(INotify, "add_watch", fail)
    async with watched_folder(tmp_path / "models") as watched:
        for number in range(3):
            (watched.root / f"folder/{number}.bin").touch()
            await watched.shows(lambda inventory: len(inventory.models) == number + 1)  # noqa: B023
        ((event, fields),) = watched.events
        assert event == "store.watch_failed"
        assert "fs.inotify.max_user_watches" in fields["error"]
        assert watches_of_this_process() == before


async def test_changes_show_while_a_scan_runs_and_stay_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Changes that other programs make while a scan runs show at once, and the scan's older result does not undo them.

    The scan is held after it has read the folder, since a scan of the folder of a test takes no time.
    """
    root = tmp_path / "models"
    for name in ("grown.bin", "removed.bin", "folder/moved.bin", "deleted.bin"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    async with watched_folder(root) as watched:
        scan, was_read, may_end = watched.store.scan, threading.Event(), threading.Event()

        def held_scan(*arguments: Any) -> Inventory:
            found = scan(*arguments)
            was_read.set()
            assert may_end.wait(60)
            return found

        monkeypatch.setattr(watched.store, "scan", held_scan)
        running = asyncio.create_task(watched.watcher.scan())
        await asyncio.to_thread(was_read.wait, 60)
        with (root / "grown.bin").open("ab") as file:
            file.write(b"y")
        (root / "removed.bin").unlink()
        (root / "folder").rename(root / "other")
        (root / "added.bin").touch()
        (root / "deleted.bin").unlink()
        watched.watcher.remove("deleted.bin")

        def is_shown(inventory: Inventory) -> bool:
            names = ["added.bin", "grown.bin", "other/moved.bin"]
            return list(inventory.models) == names and inventory.models["grown.bin"].size_bytes == 2

        await watched.shows(is_shown)
        may_end.set()
        await running
        assert is_shown(watched.watcher.current())


async def test_a_tree_whose_path_is_too_long_does_not_end_the_watcher(tmp_path: Path) -> None:
    """Changes in a tree deeper than PATH_MAX, by its own files and by moves of it, are survived; others still show."""
    async with watched_folder(tmp_path / "models") as watched:
        deepest = nested(watched.root, "n" * 200, 30)
        for number in range(5):
            os.close(os.open(f"{number}.bin", os.O_CREAT | os.O_WRONLY, dir_fd=deepest))
            (watched.root / f"{'n' * 200}").rename(watched.root / f"moved-{number}")
            (watched.root / f"moved-{number}").rename(watched.root / ("n" * 200))
            (watched.root / f"{number}.bin").touch()
            await watched.shows(lambda inventory: f"{number}.bin" in inventory.models)  # noqa: B023
        os.close(deepest)
        assert any("longer than" in warning.reason for warning in watched.watcher.current().warnings)
        # What another process may report by any name, however long, is an update like any other.
        await watched.watcher.refresh("/".join(["n" * 200] * 30))
        assert "0.bin" in watched.watcher.current().models


def nested(folder: Path, name: str, count: int) -> int:
    """Create nested folders, and return a descriptor of the last, which no path may reach."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(count):
        os.mkdir(name, dir_fd=descriptor)
        deeper = os.open(name, os.O_RDONLY | os.O_DIRECTORY, dir_fd=descriptor)
        os.close(descriptor)
        descriptor = deeper
    return descriptor
