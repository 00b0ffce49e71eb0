"""The inventory watcher shows every change of the folder within a second."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

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
