"""The queue of units in PostgreSQL: who works on which unit, and when. If the folder differs, it is right.

The log of a job decides what was done, and a claimed unit's lock of the kernel who may do it, as without a database. So
services with and without a database may work on one folder, and the rows can be made again from the folder at any time:
each service queues what has no row, at its start, every FILL_SECONDS, and when the database is back.
"""

import asyncio
import contextlib
import math
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from datetime import datetime

import anyio
from anyio import CancelScope, to_thread
from procrastinate.jobs import Job as Row
from procrastinate.jobs import Notification

from app.errors import QueueUnavailable, StoreDenied, StoreError, StoreUnavailable
from app.events import EventName, OnEvent
from app.jobs.database.connection import (
    OPERATION_SECONDS,
    DatabaseAway,
    QueueDatabase,
    answering,
    open_database,
)
from app.jobs.database.row_changes import RowChanges, change_row, in_seconds
from app.jobs.database.row_claims import RowClaims
from app.jobs.database.unit_rows import (
    UnitRow,
    change_worker,
    counts_of_jobs,
    defer_units,
    remove_ended,
    remove_waiting,
    rows_worked_on,
)
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.unit_claims import Claim
from app.jobs.units.unit_queue import Understands, UnitQueue
from app.store.records.forms import RecordDamaged

HEARTBEAT_SECONDS = 1.0
SILENT_SECONDS = 1.5
"""After how long without a heartbeat, in seconds, the other services look at the locks of a service's units. A unit
whose lock is free is queued again, since its service was killed. A unit whose lock is held is left to its service."""
STALLED_SECONDS = 10.0
"""After how long without a heartbeat, in seconds, a service is forgotten. If it lives, it has to connect again."""
FILL_SECONDS = 10.0
"""How often a service looks in the folder for units that have no row, in seconds."""
MAX_FETCHED = 100
"""How many rows are fetched at most for one claim; after them the runner looks at its other work."""
BACK_OFF_SECONDS = (0.5, 0.5, 1.0, 2.0, 5.0)
STABLE_SECONDS = 12.0
"""A connection that lasts longer, in seconds, is followed by the shortest pause. An attempt to connect takes less."""
NOT_YET = "this service has not reached it yet"
TURN_SECONDS = 15.0
"""How long a request waits, in seconds, while another service queues units of its key."""
TURN_PAUSE_SECONDS = 0.1
LASTING_SECONDS = 30.0
"""If the database is away for longer, in seconds, a new reason is reported too: the first may be that of its end."""
BUSY = "another service queues many units of this key at present"


class DatabaseQueue(UnitQueue):
    """The queue of one service. It is away until `run` has connected, and while the database does not answer."""

    def __init__(self, jobs: Jobs, url: str, on_event: OnEvent) -> None:
        self.claims = jobs.units.claims
        self._jobs = jobs
        self._url = url
        self._on_event = on_event
        self._database: QueueDatabase | None = None
        """None while the database is away."""
        self._worker = 0
        self._reason = NOT_YET
        self._reported = ""
        """The reason that was reported last."""
        self._away_since: float | None = None
        self._lost = asyncio.Event()
        self._rows: dict[tuple[str, int], UnitRow] = {}
        """The rows of the units that this service works on, by job and number."""
        self._changes = RowChanges()
        self._row_claims = RowClaims(jobs, self._change, self._remove_waiting)
        self._wake: Callable[[], None] = lambda: None
        self._on_ended: Callable[[], None] = lambda: None

    @property
    def problem(self) -> str | None:
        """Why the queue is away; None if it is not."""
        return None if self._database else self._reason

    async def check(self) -> None:
        """Raise QueueUnavailable if the database is away."""
        if self._database is None:
            raise QueueUnavailable(self._reason)

    async def add(self, job: Job) -> None:
        """Queue the units of a new job. Raises QueueUnavailable; rows that were made are removed when they come up."""
        if (database := self._database) is None:
            raise QueueUnavailable(self._reason)
        try:
            deadline = time.monotonic() + TURN_SECONDS
            while not await defer_units(database, job, range(job.units or 0)):
                if time.monotonic() > deadline:
                    raise QueueUnavailable(BUSY)
                await anyio.sleep(TURN_PAUSE_SECONDS)
        except DatabaseAway as exc:
            self._lose(exc, database)
            raise QueueUnavailable(str(exc)) from exc

    async def claim_next(self, names: Collection[str], understands: Understands) -> Claim | None:
        """Claim the next unit of the queues with these names; None if there is none, or the database is away."""
        for _ in range(MAX_FETCHED):
            if (database := self._database) is None:
                return None
            try:
                async with answering():
                    row = await database.manager.fetch_job(sorted(names), self._worker)
            except DatabaseAway as exc:
                self._lose(exc, database)
                return None
            if row is None:
                return None
            if (unit := UnitRow.of(row)) is None:
                await self._change(row.id or 0, None)
            elif claim := await self._row_claims.claim(unit, understands):
                self._rows[unit.job_id, unit.unit] = unit
                return claim
        self._wake()
        return None

    async def release(self, claim: Claim) -> None:
        """End a claim. The row of a unit without a result can be fetched again at once."""

        def end() -> bool:
            is_done = self.claims.is_done(claim)
            claim.release()
            return is_done

        is_done = await to_thread.run_sync(end)  # before the row is free, or who fetches it would find it locked
        if row := self._rows.pop((claim.job.id, claim.number), None):
            await self._change(row.id, None if is_done else in_seconds())

    async def cancelled(self, job: Job) -> None:
        """Remove the job's waiting rows, and signal the services that work on the others."""
        if (database := self._database) is None:
            return  # services see the end in the job's log
        try:
            await remove_waiting(database, job.id)
            for row_id in await rows_worked_on(database, job.id):
                async with answering():
                    await database.manager.cancel_job_by_id_async(row_id, abort=True)
        except DatabaseAway as exc:
            self._lose(exc, database)

    async def run(self, wake: Callable[[], None], on_ended: Callable[[], None]) -> None:
        """Connect, and serve the queue until the task is cancelled; connect again when the database was away."""
        self._wake, self._on_ended = wake, on_ended
        failures = 0
        while True:
            self._lost, began = asyncio.Event(), time.monotonic()
            try:
                async with open_database(self._url, self._jobs.volume.identity.id or "") as database:
                    await self._begin(database)
                    await self._serve(database)
            except DatabaseAway as exc:
                self._lose(exc, None)
            finally:
                self._database = None
            failures = 0 if time.monotonic() - began > STABLE_SECONDS else failures + 1
            await anyio.sleep(BACK_OFF_SECONDS[min(failures, len(BACK_OFF_SECONDS) - 1)])

    async def _begin(self, database: QueueDatabase) -> None:
        """Register this service, do what it owes, and queue what has no row."""
        async with answering():
            self._worker = await database.manager.register_worker()
        await change_worker(database, self._worker, [row.id for row in self._rows.values()])
        await self._changes.make_owed(database)
        await self._fill(database)
        self._database = database
        if self._away_since is not None:
            self._on_event(EventName.QUEUE_BACK, {"seconds": round(time.monotonic() - self._away_since, 3)})
            self._away_since = None
        self._wake()

    async def _serve(self, database: QueueDatabase) -> None:
        """Listen, send heartbeats and fill the queue until the database is away or the task is cancelled."""
        # Tasks of asyncio, which are cancelled once: the driver closes its connections after that.
        works = (self._listen, self._beat, self._keep_filled)
        tasks = [asyncio.ensure_future(self._guard(work, database)) for work in works]
        try:
            await self._lost.wait()
        finally:
            self._database = None
            is_stopping = not self._lost.is_set()
            with CancelScope(shield=True):
                for task in tasks:
                    task.cancel()
                await asyncio.wait(tasks, timeout=OPERATION_SECONDS)
                if is_stopping:
                    with contextlib.suppress(DatabaseAway):
                        async with answering():
                            await database.manager.unregister_worker(self._worker)
        for task in tasks:
            if task.done() and not task.cancelled():
                task.result()  # raises the exception of a defect

    async def _guard(self, work: Callable[[QueueDatabase], Awaitable[None]], database: QueueDatabase) -> None:
        try:
            await work(database)
        except DatabaseAway as exc:
            self._lose(exc, database)
        finally:
            self._lost.set()

    async def _listen(self, database: QueueDatabase) -> None:
        async def on_notification(*, channel: str, notification: Notification) -> None:  # noqa: ARG001 - procrastinate's
            if notification["type"] == "abort_job_requested":
                self._on_ended()
            else:
                self._wake()

        async with answering(math.inf):
            await database.manager.listen_for_jobs(on_notification=on_notification)

    async def _beat(self, database: QueueDatabase) -> None:
        """Send heartbeats, and queue the units again of services that send none and hold no lock of them."""
        manager = database.manager
        while True:
            await self._changes.make_owed(database)  # a unit may have ended while this service connected
            async with answering():
                await manager.update_heartbeat(self._worker)
                await manager.prune_stalled_workers(STALLED_SECONDS)
                silent = list(await manager.get_stalled_jobs(seconds_since_heartbeat=SILENT_SECONDS))
            for row_id in await to_thread.run_sync(self._unlocked, silent):
                await change_row(database, row_id, in_seconds())
                self._wake()
            await anyio.sleep(HEARTBEAT_SECONDS)

    def _unlocked(self, rows: Iterable[Row]) -> list[int]:
        """Return the ids of those rows whose units no process has locked in the folder. Blocks."""
        found = list[int]()
        with contextlib.suppress(StoreError, OSError):  # the rows are looked at again at the next heartbeat
            for row in rows:
                unit = UnitRow.of(row)
                if row.id is not None and not (unit and self.claims.is_locked(unit.job_id, unit.unit)):
                    found.append(row.id)
        return found

    async def _keep_filled(self, database: QueueDatabase) -> None:
        while True:
            await anyio.sleep(FILL_SECONDS)
            await self._fill(database)

    async def _fill(self, database: QueueDatabase) -> None:
        """Queue the units of the folder's unfinished jobs that have no row, and end the jobs whose units are done."""
        counts = await counts_of_jobs(database)
        self._row_claims.forget_all_but(counts)
        try:
            for job in await to_thread.run_sync(self._jobs.unfinished_of_units):
                units = await to_thread.run_sync(self._open_units, job)
                if counts.get(job.id, 0) < len(units):
                    await defer_units(database, job, units)  # or the next time
        except (StoreError, OSError):
            pass  # without the folder there are no units; requests report the reason
        await remove_ended(database)

    def _open_units(self, job: Job) -> list[int]:
        """Return the numbers of a job's units that have no result; none if that cannot be read now. Blocks.

        Files that cannot be read are reported. Raises StoreUnavailable if the whole folder cannot be read.
        """
        try:
            return self.claims.open_units(job)
        except RecordDamaged as exc:
            self._jobs.note_damaged(job, str(exc), exc.path)
        except (StoreError, OSError) as exc:
            self._jobs.volume.check()
            cause = exc.__cause__ if isinstance(exc, StoreUnavailable | StoreDenied) else exc
            if isinstance(cause, OSError):  # it is not, for example, a lock that a service holds
                self._jobs.note_damaged(job, f"its files cannot be read: {cause.strerror or cause}")
        return []

    async def _change(self, row_id: int, at: datetime | None) -> None:
        """Remove a row, or let it be fetched again from a time on. While the database is away, this is owed."""
        database = self._database
        try:
            await self._changes.make(database, row_id, at)
        except DatabaseAway as exc:
            self._lose(exc, database)

    async def _remove_waiting(self, job_id: str) -> None:
        """Remove all waiting rows of a job at once."""
        if database := self._database:
            try:
                await remove_waiting(database, job_id)
            except DatabaseAway as exc:
                self._lose(exc, database)

    def _lose(self, exc: DatabaseAway, database: QueueDatabase | None) -> None:
        """Note that the database is away, and report it once. A database that was replaced since does not count."""
        if database is not self._database:
            return
        self._database = None
        self._lost.set()
        self._reason = str(exc)
        if self._away_since is None:
            self._away_since = time.monotonic()
        elif self._reason == self._reported or time.monotonic() < self._away_since + LASTING_SECONDS:
            return
        self._reported = self._reason
        self._on_event(EventName.QUEUE_AWAY, {"reason": self._reason})
