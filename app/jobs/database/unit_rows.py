"""The rows of units in procrastinate's table: how they are made, in which order they come, and how they are removed.

A row says that a unit waits or that a service works on it. Whether a unit has a result, the job's log decides.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from procrastinate.jobs import Job as Row
from psycopg import AsyncConnection
from psycopg.rows import TupleRow

from app.jobs.database.connection import OPERATION_SECONDS, QueueDatabase, rows_of
from app.jobs.records import RANKS, Job
from app.jobs.units.unit_queue import queue_of

TASK_NAME = "unit"
"""The name of the task in procrastinate's rows. No function has this name: `UnitRunner` does the work."""
UNITS_A_SECOND = 200
"""How many units a slow database queues in a second, for the time limit."""
AT_ONCE = 200
"""How many rows are in one statement: making it blocks the event loop."""
MAX_TAG = (1 << 29) - 1
"""The highest tag; three classes of tags fit procrastinate's priorities, which have 32 bits."""

WAITING = "status = 'todo' AND scheduled_at IS NULL"
"""Rows that wait for their first time. A row that was put back has an old tag, which says nothing about the others."""
WORKED_ON = "status = 'doing' AND worker_id IS NOT NULL"
IN_CLASS = "priority BETWEEN %(lowest)s AND %(highest)s AND queue_name LIKE %(lane)s"
OF_KEY = "args->>'key' = %(key)s"
TAGS = f"""
SELECT
    LEAST(
        (SELECT max(-priority) FROM procrastinate_jobs WHERE {WORKED_ON} AND {IN_CLASS}),
        (SELECT -priority FROM procrastinate_jobs WHERE {WAITING} AND {IN_CLASS} ORDER BY priority DESC LIMIT 1)
    ),
    GREATEST(
        (SELECT max(-priority) FROM procrastinate_jobs WHERE {WORKED_ON} AND {IN_CLASS} AND {OF_KEY}),
        (SELECT max(-priority) FROM procrastinate_jobs WHERE {WAITING} AND {IN_CLASS} AND {OF_KEY})
    )
"""  # noqa: S608 - constants
"""The virtual time of a class and lane, and the last tag of a key there. NULL if there are no such units."""
BEGIN_TO_DEFER = """
SELECT
    pg_try_advisory_xact_lock(hashtextextended(current_schema() || ' defer ' || %(key)s, 0)),
    set_config('synchronous_commit', 'on', true)
"""
"""One service at a time for each key, so that no unit gets two rows, and no key the same tags twice. New rows are on
the disk when they are committed: otherwise a killed database could give their ids, which services remember, to rows of
other units.
"""
OF_JOB = "args->>'job' = %(job)s AND status IN ('todo', 'doing')"


@dataclass(frozen=True, slots=True)
class UnitRow:
    """A row of a unit."""

    id: int
    job_id: str
    unit: int

    @classmethod
    def of(cls, row: Row) -> "UnitRow | None":
        """Return what a row of the table says; None if it is not one of a unit."""
        job_id, unit = row.task_kwargs.get("job"), row.task_kwargs.get("unit")
        if row.id is None or not isinstance(job_id, str) or not isinstance(unit, int):
            return None
        return cls(row.id, job_id, unit)


async def defer_units(database: QueueDatabase, job: Job, units: Sequence[int]) -> bool:
    """Queue those of a job's units that have no row. If it raises DatabaseAway, some may be queued nevertheless.

    Returns False, and queues nothing, if another service queues units of the same key at present.
    """
    seconds = OPERATION_SECONDS + len(units) / UNITS_A_SECOND
    async with database.deferring, database.transaction(seconds) as connection:
        ((has_turn, _),) = await rows_of(connection, BEGIN_TO_DEFER, key=job.turn_taker)
        if not has_turn:
            return False
        statement = f"SELECT (args->>'unit')::int FROM procrastinate_jobs WHERE {OF_JOB}"  # noqa: S608 - a constant
        queued = {number for (number,) in await rows_of(connection, statement, job=job.id)}
        if missing := [number for number in units if number not in queued]:
            tag = await _next_tag(connection, job)
            rows = [_row(job, number, tag + index) for index, number in enumerate(missing)]
            for first in range(0, len(rows), AT_ONCE):
                await database.manager.batch_defer_jobs_async(rows[first : first + AT_ONCE], connection=connection)
        return True


async def counts_of_jobs(database: QueueDatabase) -> dict[str, int]:
    """Return how many units of each job have a row, by the job's id."""
    found = await database.run(
        "SELECT args->>'job', count(*) FROM procrastinate_jobs WHERE status IN ('todo', 'doing') GROUP BY 1"
    )
    return dict(found)


async def rows_worked_on(database: QueueDatabase, job_id: str) -> list[int]:
    """Return the ids of the rows of a job that services work on."""
    statement = "SELECT id FROM procrastinate_jobs WHERE args->>'job' = %(job)s AND status = 'doing'"
    return [row_id for (row_id,) in await database.run(statement, job=job_id)]


async def remove_waiting(database: QueueDatabase, job_id: str) -> None:
    """Remove the waiting rows of a job that has ended."""
    await database.run("DELETE FROM procrastinate_jobs WHERE args->>'job' = %(job)s AND status = 'todo'", job=job_id)


async def remove_ended(database: QueueDatabase) -> None:
    """Remove rows in a final state, which procrastinate would keep."""
    await database.run("DELETE FROM procrastinate_jobs WHERE status NOT IN ('todo', 'doing')")


async def change_worker(database: QueueDatabase, worker: int, row_ids: Sequence[int]) -> None:
    """Name the new registration of this service in the rows that it works on.

    The former one is removed later, since it sends no heartbeats, and frees the rows that the service has fetched
    without knowing it. After a failure of the database, the new one may have the number of a former one.
    """
    statement = "UPDATE procrastinate_jobs SET worker_id = NULL WHERE worker_id = %(worker)s"
    await database.run(statement, worker=worker)
    await database.run(
        "UPDATE procrastinate_jobs SET worker_id = %(worker)s WHERE id = ANY(%(ids)s) AND status = 'doing'",
        worker=worker,
        ids=list(row_ids),
    )


async def _next_tag(connection: AsyncConnection[TupleRow], job: Job) -> int:
    """Return the tag of the next unit of a key: by it, the keys of a class take turns.

    This is start-time fair queueing (P. Goyal, H. M. Vin, H. Cheng: Start-time Fair Queueing, SIGCOMM 1996), with units
    of equal size: a unit's tag is one more than that of the same key's unit before it, but at least the virtual time,
    which is the highest tag that a service works on, or the lowest that waits if that is lower: services do not work
    on some kinds. So a new key goes before the next unit of a batch. Units with equal tags go in the order in which
    they were queued.
    """
    base = RANKS[job.priority] * (MAX_TAG + 1)
    lane = queue_of(job).partition(".")[0]
    values = {"lowest": -(base + MAX_TAG), "highest": -base, "lane": f"{lane}.%", "key": job.turn_taker}
    ((virtual_time, last),) = await rows_of(connection, TAGS, **values)
    return max(virtual_time or base, base if last is None else last + 1)


def _row(job: Job, unit: int, tag: int) -> Row:
    highest = (RANKS[job.priority] + 1) * (MAX_TAG + 1) - 1
    return Row(
        queue=queue_of(job),
        task_name=TASK_NAME,
        priority=-min(tag, highest),
        lock=None,
        queueing_lock=f"{job.id}/{unit}",
        task_kwargs={"job": job.id, "unit": unit, "key": job.turn_taker},
    )
