"""Keeps the inventory of the model folder fresh, so that reading it never waits for the disk.

A watcher (inotify) says where to look again; where the file system cannot notify, as over a network, the folder is
scanned again and again. Whatever any process adds, replaces, grows or removes shows within a second.
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
"""A change is looked at once nothing else changes for QUIET_MS, and after GATHER_MS in any case."""
UNNOTIFIED_RESCAN_SECONDS = 0.5
WATCH_AGAIN_SECONDS = 30.0
"""How long it does without a watcher that failed: no watches were left, or it met a name that is not UTF-8."""
SAFETY_RESCAN_SECONDS = 10.0
"""Where the file system notifies, against what it does not tell: writes through a mapping, an overflowing queue."""
MANY_CHANGES = 1000
"""More at once, and a scan is quicker; it also finds what a flood of changes pushed out of the kernel's queue."""
SCAN_SHARE, SAFETY_SHARE = 1, 50
"""Rest at least as long as a scan took, and before one that is only for safety fifty times as long."""

T = TypeVar("T")
Look = Callable[[Inventory | None], Inventory]
"""A look at the disk, given what is known so far."""


class InventoryWatcher:
    """The present inventory of one store. `run()` keeps it so; the attributes may be read at any time."""

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
        """The newest; the same object as long as nothing changes. None while the folder is unavailable or unscanned."""
        self.unavailable: StoreUnavailable | None = None
        self.leased_positions: frozenset[int] = frozenset()
        self.protected: Mapping[str, ManualProtection] = {}
        """What is protected by what somebody said; the same object as long as nothing changes."""
        self._store = store
        self._on_change = on_change
        self._unanswered = unanswered
        self._thread = CapacityLimiter(2)  # of its own: a volume that does not answer keeps nobody else waiting
        self._on_event = on_event
        self._notifying = True
        self._scan_began = 0.0
        self._scan_seconds = 0.0
        self._scan_soon = False
        self._forgotten: dict[str, float] = {}
        self._scanned = asyncio.Event()
        self._looking = asyncio.Lock()

    def current(self) -> Inventory:
        """The inventory, or StoreUnavailable with the reason why there is none."""
        if problem := self._unanswered():
            raise problem
        if self.inventory is None:
            raise self.unavailable or StoreUnavailable("it has not been scanned yet")
        return self.inventory

    def remove(self, name: str) -> None:
        """Take out a model that this process just deleted, without waiting for the watcher to notice."""
        self._forgotten[name] = time.monotonic()
        if self.inventory and name in self.inventory.models:
            models = self.inventory.models.copy()  # of 100,000 in a millisecond, which a comprehension is not
            del models[name]
            self._replace(replace(self.inventory, models=models))

    async def current_when_scanned(self) -> Inventory:
        """The same, after the first scan: only a request that comes before it waits."""
        await self._scanned.wait()
        return self.current()

    async def refresh(self, name: str) -> None:
        """Look at one name now, at which this process just put a model, without waiting for the watcher to notice."""
        self._forgotten.pop(name, None)
        await self._renew(lambda before: self._store.rescan(before, [name]) if before else self._store.scan())

    async def refresh_protections(self) -> None:
        """Look at them now, which this process just changed, without waiting for the next tick."""
        with contextlib.suppress(OSError):  # the folder went away; the next tick says so
            self.protected = await self._in_thread(self._store.protections.given)

    async def scan(self) -> None:
        """Look at every file now."""
        self._scan_began = time.monotonic()
        await self._renew(self._store.scan)
        self._scan_seconds = time.monotonic() - self._scan_began
        self._scan_soon = False
        if not self._scanned.is_set():
            await self.refresh_protections()
        self._scanned.set()

    async def run(self) -> None:
        """Keep looking until cancelled."""
        while True:
            await self.scan()
            await self._follow()

    async def _follow(self) -> None:
        """Follow one folder until it is no longer there, or another lies in its place."""
        self._notifying = self._store.volume.file_system.is_local
        # What changed before the watcher stood was not told.
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
                    await self._look_again(changed)

    async def _look_again(self, changed: set[str]) -> None:
        """Look at what is said to have changed."""
        await self._renew(lambda before: self._store.rescan(before, changed) if before else self._store.scan())
        # A folder that just came may have been filled before the watcher watched it.
        self._scan_soon = await self._in_thread(lambda: any((self._store.root / name).is_dir() for name in changed))

    async def _renew(self, look: Look) -> None:
        """Replace the inventory by what a look at the disk finds; one look at a time, each on top of the last."""
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
                self._replace(self._without_forgotten(found, began))

    async def _signals(self) -> AsyncGenerator[set[str], None]:
        """Every tick, and at once when something changed: the paths at which it did, relative to the folder.

        Ends when it is time to try a watcher that failed again.
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
        """What is looked at every tick; in a thread."""
        try:
            self._store.volume.check()
            self.leased_positions = self._store.locks.leased_positions()
            self.protected = self._store.protections.given()
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

    def _without_forgotten(self, found: Inventory, began: float) -> Inventory:
        """A look that began before a deletion may still have seen the model."""
        self._forgotten = {name: at for name, at in self._forgotten.items() if at >= began}
        if not any(name in found.models for name in self._forgotten):
            return found
        models = found.models.copy()
        for name in self._forgotten:
            models.pop(name, None)
        return replace(found, models=models)

    def _look_from(self, look: Look) -> Inventory:
        """The same inventory if nothing changed; in a thread."""
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
    """Everything but the store's own files."""

    ignore_dirs = (STORE_DIR,)
    ignore_entity_patterns = ()
