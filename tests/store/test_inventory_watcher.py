"""The inventory follows the folder by itself."""

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
"""The promise: the list is never older."""


class Keeping:
    """A keeper that runs, and what it told."""

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
        """Insist that the inventory is so within the promised time."""
        await eventually_async(
            lambda: self.watcher.inventory is not None and probe(self.watcher.inventory), within=STALENESS_SECONDS
        )


@asynccontextmanager
async def keeping(root: Path, file_system: FileSystem | None = None) -> AsyncIterator[Keeping]:
    kept = Keeping(root, file_system)
    task = asyncio.create_task(kept.watcher.run())
    try:
        await kept.watcher.current_when_scanned()
        yield kept
    finally:
        task.cancel()
        await asyncio.wait({task})


@pytest.fixture(params=["notified", "rescanned"])
async def kept(tmp_path: Path, request: pytest.FixtureRequest) -> AsyncIterator[Keeping]:
    """A keeper on this file system, and one that takes it for one that does not notify, as NFS does not."""
    file_system = FileSystem("nfs4") if request.param == "rescanned" else None
    async with keeping(tmp_path / "models", file_system) as keeping_one:
        yield keeping_one


async def test_whatever_happens_to_the_folder_shows_within_a_second(kept: Keeping) -> None:
    """Adding, growing, replacing, moving and removing files and folders, by hands other than the service's."""
    path = kept.root / "a.bin"
    path.write_bytes(b"x")
    await kept.shows(lambda inventory: list(inventory.models) == ["a.bin"])

    with path.open("ab") as growing:
        growing.write(b"yz")
    await kept.shows(lambda inventory: inventory.models["a.bin"].size_bytes == 3)

    inode = path.stat().st_ino
    (kept.root / ".incoming").write_bytes(b"new")
    (kept.root / ".incoming").rename(path)
    await kept.shows(lambda inventory: inventory.models["a.bin"].inode != inode)

    (kept.root / "org_repo/deep").mkdir(parents=True)
    (kept.root / "org_repo/deep/b.gguf").touch()
    await kept.shows(lambda inventory: "org_repo/deep/b.gguf" in inventory.models)

    (kept.root / "org_repo").rename(kept.root / "moved")
    await kept.shows(lambda inventory: list(inventory.models) == ["a.bin", "moved/deep/b.gguf"])

    shutil.rmtree(kept.root / "moved")
    path.unlink()
    await kept.shows(lambda inventory: not inventory.models)


async def test_leases_show_within_a_second(kept: Keeping) -> None:
    """What others use is known without asking them."""
    with kept.store.locks.lease("a.bin"):
        await eventually_async(lambda: is_leased("a.bin", kept.watcher.leased_positions), within=STALENESS_SECONDS)
    await eventually_async(lambda: not kept.watcher.leased_positions, within=STALENESS_SECONDS)


async def test_a_folder_that_goes_away_is_unavailable_until_it_is_back(kept: Keeping) -> None:
    """Unmounted it is told as such, never as empty; back again it is followed again."""
    (kept.root / "a.bin").touch()
    await kept.shows(lambda inventory: len(inventory.models) == 1)
    away = kept.root.with_name("away")

    kept.root.rename(away)
    await eventually_async(lambda: kept.watcher.inventory is None, within=STALENESS_SECONDS)
    with pytest.raises(StoreUnavailable, match="missing"):
        kept.watcher.current()

    away.rename(kept.root)
    await kept.shows(lambda inventory: len(inventory.models) == 1)
    (kept.root / "b.bin").touch()
    await kept.shows(lambda inventory: len(inventory.models) == 2)
    assert [event for event, _ in kept.events] == ["store.unavailable", "store.available"]


async def test_nothing_new_makes_no_new_inventory(tmp_path: Path) -> None:
    """What was made from the inventory stays good as long as nothing changes."""
    async with keeping(tmp_path / "models") as kept:
        (kept.root / "a.bin").touch()
        await kept.shows(lambda inventory: len(inventory.models) == 1)
        before, changes = kept.watcher.inventory, kept.changes

        await kept.watcher.scan()

        assert kept.watcher.inventory is before
        assert kept.changes == changes


async def test_a_model_deleted_here_is_gone_from_the_list_at_once(tmp_path: Path) -> None:
    """Whoever deleted it never sees it again, not even through a scan that began before."""
    async with keeping(tmp_path / "models") as kept:
        (kept.root / "a.bin").touch()
        await kept.shows(lambda inventory: len(inventory.models) == 1)
        slow_scan = asyncio.create_task(kept.watcher.scan())
        await asyncio.sleep(0)
        (kept.root / "a.bin").unlink()

        kept.watcher.remove("a.bin")
        assert kept.watcher.inventory is not None
        assert not kept.watcher.inventory.models
        await slow_scan
        assert not kept.watcher.inventory.models
