"""Keeps the inventory of the model folder up to date in memory, so that no reader of the inventory waits for the disk.

inotify reports which paths have changed, and only these paths are read again, even while a full scan runs. A file
system without notifications, such as a network file system, is scanned periodically. docs/benchmarks.md has the
measured delays.
"""

import asyncio
import contextlib
import gc
import math
import time
from collections.abc import AsyncGenerator, Callable, Collection, Iterator, Mapping
from contextlib import aclosing, contextmanager
from dataclasses import replace
from typing import TypeVar

from anyio import CapacityLimiter, to_thread

from app.errors import StoreUnavailable
from app.events import EventName, OnEvent
from app.store.inventory import Inventory
from app.store.protections import ManualProtection
from app.store.store import Store
from app.store.volume.tree_watch import Changes, TreeWatch, reason_of

TICK_SECONDS = 0.25
"""How often leases, protections and the folder's identity are read, in seconds. Each read takes microseconds."""
GATHER_SECONDS, MAX_GATHER_SECONDS = 0.02, 0.2
"""How long, in seconds, changes are gathered before they are handled together, and the longest pause after that."""
UNNOTIFIED_RESCAN_SECONDS = 0.5
"""The pause, in seconds, between scans of a file system without notifications."""
WATCH_AGAIN_SECONDS = 30.0
"""How long, in seconds, the folder is scanned at short intervals after inotify has failed, before inotify is tried
again. It fails if the user's limit of watches is too low."""
SAFETY_RESCAN_SECONDS = 10.0
"""How often to scan although inotify works, in seconds: inotify misses writes to mapped files, and its queue can
overflow."""
SAFETY_REST = 3.0
"""How long a safety scan sleeps between its steps, as a multiple of its computing time."""
MANY_CHANGES = 500
"""After more than this number of changes at once, the whole folder is scanned, so that later changes need not wait."""
MANY_MODELS = 10_000
"""After a scan with this many new models, all objects are exempted from garbage collection, see `_spare_collector`."""
SCAN_SHARE, SAFETY_SHARE = 1, 50
"""The least pause after any scan, and the least pause before a safety scan, as multiples of the duration of the last
scan."""

NO_CHANGES = Changes(set(), is_complete=True)

T = TypeVar("T")


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
        """`unanswered` returns an error while the volume has not answered a call for too long, else None."""
        self.inventory: Inventory | None = None
        """The newest inventory; the identical object until something changes. None while the folder is unavailable or
        not scanned yet."""
        self.unavailable: StoreUnavailable | None = None
        """Why the folder is unavailable; None while it is available."""
        self.leased_positions: frozenset[int] = frozenset()
        """The lock positions of all leased models, for `is_leased()`."""
        self.protected: Mapping[str, ManualProtection] = {}
        """The protections that callers set, by model name; the identical object until one changes."""
        self._store = store
        self._on_change = on_change
        self._unanswered = unanswered
        self._thread = CapacityLimiter(3)  # own threads, so that a volume that does not answer blocks no other work
        self._on_event = on_event
        self._watch: TreeWatch | None = None
        """inotify's watch of the folder; None while the folder is scanned at short intervals instead."""
        self._scan_began = 0.0
        self._scan_seconds = 0.0
        self._scan_soon = False
        self._removed: dict[str, float] = {}
        self._scanned = asyncio.Event()
        self._spared = 0
        self._scanning, self._updating = asyncio.Lock(), asyncio.Lock()
        self._changed_meanwhile: set[str] | None = None
        """The paths that have changed since the running scan began; the scan may have read them before the change. None
        if no scan runs."""

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
        self._note_changed([name])
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
        await self._update([name])

    async def refresh_protections(self) -> None:
        """Update `protected` after this process has changed a protection, without waiting for the next tick."""
        with contextlib.suppress(OSError):  # the folder is gone; the next tick reports that
            self.protected = await self._in_thread(self._store.protections.manual)

    async def scan(self, rest: float = 0.0) -> None:
        """Scan the whole folder now, and replace the inventory.

        Between its steps the scan sleeps `rest` times as long as it computes.

        Paths that change during the scan are still updated at once. The scan may have read such a path before its
        change, so the scan reads all these paths again at its end.
        """
        async with self._scanning:
            self._scan_began = time.monotonic()
            self._scan_soon = False
            self._changed_meanwhile = set()
            try:
                with self._noting_availability():
                    found = await self._in_thread(self._store.scan, self.inventory, self._on_folder, rest)
                    while len(names := self._changed_meanwhile) > MANY_CHANGES:
                        self._changed_meanwhile = set()
                        found = await self._rescan(found, names)
                    async with self._updating:
                        began = time.monotonic()
                        found = await self._rescan(found, list(self._changed_meanwhile))
                        self._replace(self._without_removed(found, began))
            finally:
                self._changed_meanwhile = None
            self._scan_seconds = time.monotonic() - self._scan_began
            self._spare_collector()
        if not self._scanned.is_set():
            await self.refresh_protections()
        self._scanned.set()

    def _spare_collector(self) -> None:
        """Exempt all present objects from garbage collection if a scan has found many new models.

        A full collection holds the interpreter lock while it visits each object: with 100,000 models it delays all
        requests by 30 ms, and by half a second on a busy machine. Models are in no reference cycle, so they are freed
        without a collection.
        """
        count = len(self.inventory.models) if self.inventory else 0
        if count >= self._spared + MANY_MODELS:
            gc.unfreeze()  # what is garbage by now is collected, so that it cannot add up
            gc.collect()
            gc.freeze()
            self._spared = count

    async def run(self) -> None:
        """Keep the inventory up to date until cancelled."""
        while True:
            # Watch before the scan, because inotify does not report changes that were made before a folder was watched.
            until = await self._begin_watch()
            try:
                await self.scan()
                await self._follow(until)
            finally:
                self._end_watch()

    async def _begin_watch(self) -> float:
        """Set up inotify.

        Returns the monotonic time at which to try again; infinity if there is no need to try again.
        """
        if self._store.volume.file_system.is_local:
            try:
                self._watch = await self._in_thread(TreeWatch)
            except OSError as exc:
                return self._note_failure(reason_of(exc))
        return math.inf

    def _end_watch(self) -> None:
        if self._watch:
            self._watch.close()
            self._watch = None

    def _note_failure(self, error: str) -> float:
        self._on_event(EventName.STORE_WATCH_FAILED, {"error": error})
        return time.monotonic() + WATCH_AGAIN_SECONDS

    async def _follow(self, until: float) -> None:
        """Update the inventory after each change that inotify reports.

        Returns when the folder is gone or replaced, or at the monotonic time `until`.
        """
        scan = None
        looked_at = 0.0
        try:
            async with aclosing(self._signals()) as signals:
                async for changed in signals:
                    if self._watch and self._watch.failure:
                        until = self._note_failure(self._watch.failure)
                        self._end_watch()
                    await self._handle(changed)
                    if time.monotonic() - looked_at >= TICK_SECONDS:
                        looked_at = time.monotonic()
                        root_id = await self._in_thread(self._look)
                        if root_id != self._seen_root_id() or looked_at >= until:
                            return
                    if scan and scan.done():
                        scan.result()  # raises the scan's exception, if there was one
                        scan = None
                    if not scan and self._scan_is_due():
                        is_for_safety = self._watch and not self._scan_soon
                        scan = asyncio.create_task(self.scan(SAFETY_REST if is_for_safety else 0.0))
        finally:
            if scan:
                scan.cancel()
                await asyncio.wait({scan})

    async def _handle(self, changes: Changes) -> None:
        """Update the inventory at the changed paths, or request a scan if there are many."""
        if not changes.is_complete or len(changes.names) > MANY_CHANGES:
            self._scan_soon = True
        elif changes.names:
            began = time.monotonic()
            await self._update(changes.names)
            # Pause as long as the update took, so that other threads and requests get at least as much time.
            await asyncio.sleep(min(time.monotonic() - began, MAX_GATHER_SECONDS))

    async def _update(self, names: Collection[str]) -> None:
        """Read some paths again, and update the inventory.

        Updates run one after another, each on the result of the last.
        """
        self._note_changed(names)
        async with self._updating:
            began = time.monotonic()
            with self._noting_availability():
                if self.inventory is None:
                    found = await self._in_thread(self._store.scan, None, self._on_folder)
                else:
                    found = await self._rescan(self.inventory, names)
                self._replace(self._without_removed(found, began))

    async def _rescan(self, before: Inventory, names: Collection[str]) -> Inventory:
        """Return the inventory `before`, brought up to date at the paths in `names`.

        If the result equals the present inventory, returns the present object.
        """

        def rescan() -> tuple[Inventory, bool]:
            found, is_complete = self._store.rescan(before, names, self._on_folder)
            present = self.inventory
            return (present if present is not None and found == present else found), is_complete

        found, is_complete = await self._in_thread(rescan)
        self._scan_soon = self._scan_soon or not is_complete
        return found

    def _note_changed(self, names: Collection[str]) -> None:
        if self._changed_meanwhile is not None:
            self._changed_meanwhile.update(names)

    @contextmanager
    def _noting_availability(self) -> Iterator[None]:
        """Set `unavailable` if the `with` block cannot read the folder, else reset it.

        Reports each change as an event.
        """
        try:
            yield
        except StoreUnavailable as exc:
            if self.unavailable is None:
                self._on_event(EventName.STORE_UNAVAILABLE, {"reason": str(exc)})
            self.unavailable = exc
            self._replace(None)
        else:
            if self.unavailable:
                self._on_event(EventName.STORE_AVAILABLE, {})
            self.unavailable = None

    async def _signals(self) -> AsyncGenerator[Changes, None]:
        """Yield the changes that the kernel reports, and at least every TICK_SECONDS an empty set of changes."""
        while True:
            if not self._watch:
                await asyncio.sleep(TICK_SECONDS)
                yield NO_CHANGES
            elif await self._watch.wait(TICK_SECONDS):
                await asyncio.sleep(GATHER_SECONDS)
                yield await self._in_thread(self._watch.read)
            else:
                yield NO_CHANGES

    def _on_folder(self, prefix: str, folder: int) -> None:
        """Watch a folder that a scan is about to read. Runs in a thread."""
        if watch := self._watch:
            watch.add(prefix, folder)

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._thread, abandon_on_cancel=True)

    def _look(self) -> tuple[int, int] | None:
        """Read leases and protections, and return the model folder's device and inode; None if it is unavailable.

        Runs in a thread.
        """
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
        if self._scan_soon:
            pause = self._scan_seconds + min(self._scan_seconds * SCAN_SHARE, TICK_SECONDS)
        elif self._watch:
            pause = max(SAFETY_RESCAN_SECONDS, self._scan_seconds * SAFETY_SHARE)
        else:
            pause = max(UNNOTIFIED_RESCAN_SECONDS, self._scan_seconds * (1 + SCAN_SHARE))
        return time.monotonic() - self._scan_began >= pause

    def _without_removed(self, found: Inventory, began: float) -> Inventory:
        """Return `found`, the result of a scan, without the models that this process deleted after the scan `began`."""
        self._removed = {name: at for name, at in self._removed.items() if at >= began}
        if not any(name in found.models for name in self._removed):
            return found
        models = found.models.copy()
        for name in self._removed:
            models.pop(name, None)
        return replace(found, models=models)

    def _replace(self, inventory: Inventory | None) -> None:
        if inventory is not self.inventory:
            self.inventory = inventory
            self._on_change()
