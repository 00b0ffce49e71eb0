"""Keeps the inventory of the model folder fresh, so that reading it never waits for the disk.

inotify says which paths to look at again; where the file system cannot notify, as over a network, the folder is scanned
again and again. A model that any process adds, replaces, grows or removes shows within a second.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import TypeVar

from anyio import CapacityLimiter, to_thread
from watchfiles import DefaultFilter, awatch

from app.errors import StoreUnavailable
from app.events import EventName, OnEvent
from app.store.inventory import STORE_DIR, Inventory
from app.store.protections import ManualProtection
from app.store.store import Store

TICK_SECONDS = 0.25
"""How often leases, protections and the folder's identity are looked at; microseconds each."""
QUIET_MS, GATHER_MS = 20, 200
"""A change is looked at once nothing else has changed for QUIET_MS, and after GATHER_MS at the latest."""
UNNOTIFIED_RESCAN_SECONDS = 0.5
WATCH_AGAIN_SECONDS = 30.0
"""How long to scan instead after inotify failed: no watches were left, or a name was not UTF-8."""
SAFETY_RESCAN_SECONDS = 10.0
"""How often to scan although the file system notifies: it misses writes to mappings, and its queue can overflow."""
MANY_CHANGES = 1000
"""With more changes at once a scan is quicker, and it finds those that overflowed the kernel's queue."""
SCAN_SHARE, SAFETY_SHARE = 1, 50
"""The pause after a scan is at least as long as the scan, and before a safety rescan fifty times as long."""

T = TypeVar("T")
Look = Callable[[Inventory | None], Inventory]
"""Looks at the disk, given the present inventory."""


class InventoryWatcher:
    """The present inventory of one store. `run()` keeps it fresh; the attributes may be read at any time."""

    def __init__(
        self,
        store: Store,
        *,
        on_change: Callable[[], None],
        on_event: OnEvent,
        unanswered: Callable[[], StoreUnavailable | None] = lambda: None,
    ) -> None:
        """`unanswered` says why the volume counts as unavailable if it has not answered for too long."""
        self.inventory: Inventory | None = None
        """The newest one, the identical object until a change. None while the folder is unavailable or unscanned."""
        self.unavailable: StoreUnavailable | None = None
        self.leased_positions: frozenset[int] = frozenset()
        self.protected: Mapping[str, ManualProtection] = {}
        """The protections that callers set, by name; the identical object until something changes."""
        self._store = store
        self._on_change = on_change
        self._unanswered = unanswered
        self._thread = CapacityLimiter(2)  # of its own: a volume that does not answer makes no other work wait
        self._on_event = on_event
        self._notifying = True
        self._scan_began = 0.0
        self._scan_seconds = 0.0
        self._scan_soon = False
        self._removed: dict[str, float] = {}
        self._scanned = asyncio.Event()
        self._looking = asyncio.Lock()

    def current(self) -> Inventory:
        """The inventory. Raises StoreUnavailable with the reason why there is none."""
        if problem := self._unanswered():
            raise problem
        if self.inventory is None:
            raise self.unavailable or StoreUnavailable("it has not been scanned yet")
        return self.inventory

    def remove(self, name: str) -> None:
        """Remove a model that this process has just deleted, without waiting for the notification."""
        self._removed[name] = time.monotonic()
        if self.inventory and name in self.inventory.models:
            models = self.inventory.models.copy()  # of 100,000 in a millisecond, which a comprehension is not
            del models[name]
            self._replace(replace(self.inventory, models=models))

    async def current_when_scanned(self) -> Inventory:
        """The inventory, waiting for the first scan if that is not over. Raises StoreUnavailable."""
        await self._scanned.wait()
        return self.current()

    async def refresh(self, name: str) -> None:
        """Look at one name to which this process has just moved a model, without waiting for the notification."""
        self._removed.pop(name, None)
        await self._renew(lambda before: self._store.rescan(before, [name]) if before else self._store.scan())

    async def refresh_protections(self) -> None:
        """Read the protections, which this process has just changed, without waiting for the next tick."""
        with contextlib.suppress(OSError):  # the folder went away; the next tick says so
            self.protected = await self._in_thread(self._store.protections.manual)

    async def scan(self) -> None:
        """Scan every file now."""
        self._scan_began = time.monotonic()
        await self._renew(self._store.scan)
        self._scan_seconds = time.monotonic() - self._scan_began
        self._scan_soon = False
        if not self._scanned.is_set():
            await self.refresh_protections()
        self._scanned.set()

    async def run(self) -> None:
        """Keep the inventory fresh until cancelled."""
        while True:
            await self.scan()
            await self._follow()

    async def _follow(self) -> None:
        """Follow one folder until it is gone, or another folder has its path."""
        self._notifying = self._store.volume.file_system.is_local
        # Changes before inotify was set up were not notified.
        self._scan_soon = True
        async with aclosing(self._signals()) as signals:
            async for changed in signals:
                root_id = await self._in_thread(self._look)
                if root_id != self._seen_root_id():
                    return
                if self._scan_soon or len(changed) > MANY_CHANGES or self._scan_is_due():
                    await self.scan()
                    await asyncio.sleep(min(self._scan_seconds * SCAN_SHARE, TICK_SECONDS))
                elif changed:
                    await self._rescan(changed)

    async def _rescan(self, changed: set[str]) -> None:
        """Look at the paths that have changed."""
        await self._renew(lambda before: self._store.rescan(before, changed) if before else self._store.scan())
        # A new folder may have been filled before inotify watched it.
        self._scan_soon = await self._in_thread(lambda: any((self._store.root / name).is_dir() for name in changed))

    async def _renew(self, look: Look) -> None:
        """Replace the inventory by what a look at the disk finds. One look at a time, each based on the one before."""
        async with self._looking:
            began = time.monotonic()
            try:
                found = await self._in_thread(self._look_from, look)
            except StoreUnavailable as exc:
                if self.unavailable is None:
                    self._on_event(EventName.STORE_UNAVAILABLE, {"reason": str(exc)})
                self.unavailable = exc
                self._replace(None)
            else:
                if self.unavailable:
                    self._on_event(EventName.STORE_AVAILABLE, {})
                self.unavailable = None
                self._replace(self._without_removed(found, began))

    async def _signals(self) -> AsyncGenerator[set[str], None]:
        """Yield the changed paths, relative to the folder: at once when something changes, and an empty set each tick.

        Ends when it is time to set up a failed watcher again.
        """
        until = math.inf
        if self._notifying and self.inventory:
            root = str(self._store.root) + "/"
            try:
                async for changes in awatch(
                    self._store.root,
                    watch_filter=_ModelsFilter(),
                    debounce=GATHER_MS,
                    step=QUIET_MS,
                    rust_timeout=int(TICK_SECONDS * 1000),
                    yield_on_timeout=True,
                    force_polling=False,
                ):
                    yield {path.removeprefix(root) for _, path in changes}
            except* (OSError, RuntimeError) as failures:  # what fails in the watcher's thread comes as a group
                self._on_event(EventName.STORE_WATCH_FAILED, {"error": _first(failures)})
                self._notifying = False
                until = time.monotonic() + WATCH_AGAIN_SECONDS
        while time.monotonic() < until:
            await asyncio.sleep(TICK_SECONDS)
            yield set()

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._thread, abandon_on_cancel=True)

    def _look(self) -> tuple[int, int] | None:
        """Look at leases, protections and the folder's identity, as every tick does. Runs in a thread."""
        try:
            self._store.volume.check()
            self.leased_positions = self._store.locks.leased_positions()
            self.protected = self._store.protections.manual()
            status = self._store.root.stat()
        except (StoreUnavailable, OSError):
            return None
        return status.st_dev, status.st_ino

    def _seen_root_id(self) -> tuple[int, int] | None:
        return self.inventory.root_id if self.inventory else None

    def _scan_is_due(self) -> bool:
        if self._notifying:
            pause = max(SAFETY_RESCAN_SECONDS, self._scan_seconds * SAFETY_SHARE)
        else:
            pause = max(UNNOTIFIED_RESCAN_SECONDS, self._scan_seconds * (1 + SCAN_SHARE))
        return time.monotonic() - self._scan_began >= pause

    def _without_removed(self, found: Inventory, began: float) -> Inventory:
        """Remove models deleted since the look began; it may still have seen them."""
        self._removed = {name: at for name, at in self._removed.items() if at >= began}
        if not any(name in found.models for name in self._removed):
            return found
        models = found.models.copy()
        for name in self._removed:
            models.pop(name, None)
        return replace(found, models=models)

    def _look_from(self, look: Look) -> Inventory:
        """Look at the disk, and return the present inventory object if nothing changed. Runs in a thread."""
        before = self.inventory
        found = look(before)
        return before if before is not None and found == before else found

    def _replace(self, inventory: Inventory | None) -> None:
        if inventory is not self.inventory:
            self.inventory = inventory
            self._on_change()


def _first(failures: BaseExceptionGroup[BaseException]) -> str:
    failure = failures.exceptions[0]
    return _first(failure) if isinstance(failure, BaseExceptionGroup) else str(failure)


class _ModelsFilter(DefaultFilter):
    """Lets all paths pass but the store's own files."""

    ignore_dirs = (STORE_DIR,)
    ignore_entity_patterns = ()
