"""The claim of the unit of a fetched row, and what becomes of a row whose unit cannot be worked on."""

import time
from collections.abc import Awaitable, Callable, Container
from datetime import datetime

from anyio import to_thread

from app.errors import JobNotFound, ModelInUse, ModelLocked, StoreError, StoreUnavailable
from app.jobs.database.row_changes import in_seconds
from app.jobs.database.unit_rows import UnitRow
from app.jobs.folder import Jobs
from app.jobs.units.unit_claims import Claim, JobEnded
from app.jobs.units.unit_queue import Understands
from app.store.records.forms import RecordDamaged

HELD_SECONDS = 3.0
"""For how long, in seconds, a unit is put back whose lock, or whose job's lock, another process holds, or whose folder
is away."""
DAMAGED_SECONDS = 60.0
"""For how long, in seconds, a unit is put back whose job cannot be read."""


class RowClaims:
    """Claims the units of the rows that one service has fetched."""

    def __init__(
        self,
        jobs: Jobs,
        change: Callable[[int, datetime | None], Awaitable[None]],
        remove_waiting: Callable[[str], Awaitable[None]],
    ) -> None:
        """`change` removes a row by its id, or lets it be fetched again from a time on.

        `remove_waiting` removes all waiting rows of a job, by the job's id. Both raise nothing if the database is away.
        """
        self._jobs = jobs
        self._change = change
        self._remove_waiting = remove_waiting
        self._refused: dict[str, float] = {}
        """Until when the units of a job are put back without a look, because its lock or files did not answer: by the
        job's id, a time of the monotonic clock."""
        self._not_found: dict[str, float] = {}
        """Since when the jobs of rows are not in the folder: by the job's id, a time of the monotonic clock."""

    async def claim(self, row: UnitRow, understands: Understands) -> Claim | None:
        """Claim the unit of a fetched row. If it cannot be worked on, remove the row or put it back, and return None.

        Raises StoreError and OSError; the row is put back then.
        """
        if time.monotonic() < self._refused.get(row.job_id, 0.0):
            await self._put_back(row, HELD_SECONDS)
            return None
        return await self._claim(row, understands)

    def forget_all_but(self, job_ids: Container[str]) -> None:
        """Forget the jobs that were not found, except for these, which have rows."""
        self._not_found = {job_id: since for job_id, since in self._not_found.items() if job_id in job_ids}

    async def _claim(self, row: UnitRow, understands: Understands) -> Claim | None:
        try:
            job = await to_thread.run_sync(self._jobs.get, row.job_id)
            self._not_found.pop(row.job_id, None)
            claim = await to_thread.run_sync(self._jobs.units.claims.claim_unit, job, row.unit, understands)
        except JobEnded:
            await self._change(row.id, None)
            await self._remove_waiting(row.job_id)
        except JobNotFound:
            await self._look_again(row)
        except (ModelLocked, ModelInUse):
            await self._put_back(row, HELD_SECONDS)
        except RecordDamaged as exc:
            await to_thread.run_sync(self._jobs.note_damaged, job, str(exc), exc.path)
            await self._put_back(row, DAMAGED_SECONDS)
        except (StoreUnavailable, OSError):
            await self._refuse(row)
        except StoreError:
            await self._put_back(row, HELD_SECONDS)
            raise
        except BaseException:
            await self._put_back(row, 0.0)
            raise
        else:
            if claim is None:
                await self._change(row.id, None)
            return claim
        return None

    async def _put_back(self, row: UnitRow, seconds: float) -> None:
        await self._change(row.id, in_seconds(seconds))

    async def _refuse(self, row: UnitRow) -> None:
        """Put back a unit whose job does not answer, such as one whose lock a service holds that hangs, and the job's
        other units when they come. Raises StoreUnavailable if it is the whole folder that does not answer.
        """
        await self._put_back(row, HELD_SECONDS)
        await to_thread.run_sync(self._jobs.volume.check)
        now = time.monotonic()
        self._refused = {job_id: until for job_id, until in self._refused.items() if now < until}
        self._refused[row.job_id] = now + HELD_SECONDS

    async def _look_again(self, row: UnitRow) -> None:
        """Put back the units of a job that is not there. If it is not there HELD_SECONDS later, remove its rows.

        A machine may see a new job later than the database tells of it, and may find a record that was damaged a
        moment ago. Raises StoreUnavailable if it is the whole folder that is not there.
        """
        await self._refuse(row)
        now = time.monotonic()
        if now >= self._not_found.setdefault(row.job_id, now) + HELD_SECONDS:
            self._not_found.pop(row.job_id)
            await self._remove_waiting(row.job_id)
