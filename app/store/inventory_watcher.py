"""Keeps the inventory of the model folder up to date in memory, so that its readers never wait for the disk.

inotify reports which paths have changed, and only those are read again. A file system that cannot notify, such as a
network file system, is scanned again and again. A change that any process makes is in the inventory within a second.
"""

import asyncio
import contextlib
import math
import os
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
"""How often leases, protections and the folder's identity are read; each takes microseconds."""
QUIET_MS, GATHER_MS = 20, 200
"""Changes are handled together once there was no other change for QUIET_MS, and after GATHER_MS at the latest."""
UNNOTIFIED_RESCAN_SECONDS = 0.5
"""How often to scan a file system that does not notify."""
WATCH_AGAIN_SECONDS = 30.0
"""How long to scan before inotify is tried again after a failure: no watches were left, or a name was not UTF-8."""
SAFETY_RESCAN_SECONDS = 10.0
"""How often to scan although inotify works: it misses writes to mapped files, and its queue can overflow."""
MANY_CHANGES = 1000
"""Above this number of changes at once the whole folder is scanned. That is quicker, and finds the changes that
overflowed the kernel's queue."""
SCAN_SHARE, SAFETY_SHARE = 1, 50
"""The least pause after any scan, and before a safety rescan, as multiples of the duration of the last scan."""

T = TypeVar("T")
Look = Callable[[Inventory | None], Inventory]
"""A function that reads the disk and returns a new inventory. It receives the present one, or None if there is none."""


class InventoryWatcher:
    """Holds the newest inventory of one store; `run()` keeps it up to date. Attributes may be read at any time."""

    def __init__(
        self,
        store: Store,
        *,
        on_change: Callable[[], None],
        on_event: OnEvent,
        unanswered: Callable[[], StoreUnavailable | None] = lambda: None,
    ) -> None:
        """`unanswered` returns an error while the volume has not answered for too long, else None."""
        self.inventory: Inventory | None = None
        """The newest inventory, the identical object until a change. None while the folder is unavailable or unread."""
        self.unavailable: StoreUnavailable | None = None
        """Why the folder is unavailable; None while it is available."""
        self.leased_positions: frozenset[int] = frozenset()
        """The lock positions of all leased models, for `is_leased()`."""
        self.protected: Mapping[str, ManualProtection] = {}
        """The protections that callers set, by model name; the identical object until a change."""
        self._store = store
        self._on_change = on_change
        self._unanswered = unanswered
        self._thread = CapacityLimiter(2)  # threads of its own: a volume that does not answer blocks no other work
        self._on_event = on_event
        self._notifying = True
        self._scan_began = 0.0
        self._scan_seconds = 0.0
        self._scan_soon = False
        self._removed: dict[str, float] = {}
        self._scanned = asyncio.Event()
        self._looking = asyncio.Lock()

    def current(self) -> Inventory:
        """Return the newest inventory. Raises StoreUnavailable if there is none, or the volume does not answer."""
        if problem := self._unanswered():
            raise problem
        if self.inventory is None:
            raise self.unavailable or StoreUnavailable("it has not been scanned yet")
        return self.inventory

    def remove(self, name: str) -> None:
        """Remove from the inventory a model that this process has just deleted, without waiting for inotify."""
        self._removed[name] = time.monotonic()
        if self.inventory and name in self.inventory.models:
            models = self.inventory.models.copy()  # copies 100,000 in a millisecond; a comprehension is slower
            del models[name]
            self._replace(replace(self.inventory, models=models))

    async def current_when_scanned(self) -> Inventory:
        """Wait for the first scan, then return the newest inventory. Raises StoreUnavailable."""
        await self._scanned.wait()
        return self.current()

    async def refresh(self, name: str) -> None:
        """Update the inventory at a name to which this process has just moved a model, without waiting for inotify."""
        self._removed.pop(name, None)
        await self._renew(lambda before: self._store.rescan(before, [name]) if before else self._store.scan())

    async def refresh_protections(self) -> None:
        """Update `protected` after this process has changed a protection, without waiting for the next tick."""
        with contextlib.suppress(OSError):  # the folder is gone; the next tick reports that
            self.protected = await self._in_thread(self._store.protections.manual)

    async def scan(self) -> None:
        """Scan the whole folder now, and replace the inventory."""
        self._scan_began = time.monotonic()
        await self._renew(self._store.scan)
        self._scan_seconds = time.monotonic() - self._scan_began
        self._scan_soon = False
        if not self._scanned.is_set():
            await self.refresh_protections()
        self._scanned.set()

    async def run(self) -> None:
        """Keep the inventory up to date until cancelled."""
        while True:
            await self.scan()
            await self._follow()

    async def _follow(self) -> None:
        """Update the inventory after each change, until the folder is gone or replaced.

        Also returns 30 s after a failure of inotify, so that `run` sets it up again.
        """
        self._notifying = self._store.volume.file_system.is_local
        # Scan once, since changes before inotify was set up were not reported.
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
        """Update the inventory at the paths that have changed."""
        await self._renew(lambda before: self._store.rescan(before, changed) if before else self._store.scan())
        # Scan soon if a folder is new: it may have been filled before inotify watched it.
        # `os.path.isdir`, since `Path.is_dir` raises OSError for a path that is too long, which would end the service.
        paths = [self._store.root / name for name in changed]
        self._scan_soon = await self._in_thread(lambda: any(map(os.path.isdir, paths)))

    async def _renew(self, look: Look) -> None:
        """Replace the inventory by the result of `look`. One call runs at a time, and starts from the last result."""
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
        """Yield a set of changed paths, relative to the folder, after each change, and an empty set at each tick.

        Ends when inotify, after a failure, should be set up again.
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
            except* (OSError, RuntimeError) as failures:  # errors of the thread of `awatch` come as a group
                self._on_event(EventName.STORE_WATCH_FAILED, {"error": _first(failures)})
                self._notifying = False
                until = time.monotonic() + WATCH_AGAIN_SECONDS
        while time.monotonic() < until:
            await asyncio.sleep(TICK_SECONDS)
            yield set()

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._thread, abandon_on_cancel=True)

    def _look(self) -> tuple[int, int] | None:
        """Read leases, protections and the folder's device and inode. None if it is unavailable. Runs in a thread."""
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
        """Remove from `found` the models that this process deleted after `began`, the time when the scan began."""
        self._removed = {name: at for name, at in self._removed.items() if at >= began}
        if not any(name in found.models for name in self._removed):
            return found
        models = found.models.copy()
        for name in self._removed:
            models.pop(name, None)
        return replace(found, models=models)

    def _look_from(self, look: Look) -> Inventory:
        """Call `look`, and return the present inventory object if the result is equal to it. Runs in a thread."""
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
    """Accepts all paths except those in `.store/`."""

    ignore_dirs = (STORE_DIR,)
    ignore_entity_patterns = ()
