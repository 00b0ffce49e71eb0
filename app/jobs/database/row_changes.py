"""What becomes of the rows of units after a service has fetched them, also if the database is away at that moment."""

import contextlib
from datetime import UTC, datetime, timedelta

from procrastinate.jobs import Status

from app.jobs.database.connection import QueueDatabase, RowGone, UnitWaits, answering


class RowChanges:
    """The changes of rows by one service. A change that cannot be made is remembered until the database is back."""

    def __init__(self) -> None:
        self._owed: dict[int, datetime | None] = {}
        """Changes that could not be made: by a row's id, the time from which it can be fetched again, or None to remove
        it."""

    async def make(self, database: QueueDatabase | None, row_id: int, at: datetime | None) -> None:
        """Remove a row, or let it be fetched again from a time on.

        If the change is not made, because `database` is None or does not answer, or the caller is cancelled, it is
        owed. Raises DatabaseAway.
        """
        is_made = False
        try:
            if database:
                await change_row(database, row_id, at)
                is_made = True
        finally:
            if not is_made:  # owed only now, or the heartbeat would make the change too, a moment later
                self._owed[row_id] = at

    async def make_owed(self, database: QueueDatabase) -> None:
        """Make the changes that are owed. Raises DatabaseAway; the changes that were not made are owed still."""
        for row_id, at in list(self._owed.items()):
            await change_row(database, row_id, at)
            self._owed.pop(row_id, None)


async def change_row(database: QueueDatabase, row_id: int, at: datetime | None) -> None:
    """Remove a row, or let it be fetched again from a time on. Raises DatabaseAway.

    Nothing happens if another service has done so, or the row is gone.
    """
    manager = database.manager
    with contextlib.suppress(RowGone):
        if at is not None:
            with contextlib.suppress(UnitWaits):  # then this row is not needed
                async with answering():
                    await manager.retry_job_by_id_async(row_id, at)
                return
        async with answering():
            await manager.finish_job_by_id_async(row_id, Status.SUCCEEDED, delete_job=True)


def in_seconds(seconds: float = 0.0) -> datetime:
    """Return the time that is `seconds` from now."""
    return datetime.now(UTC) + timedelta(seconds=seconds)
