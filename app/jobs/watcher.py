"""Waits for changes of jobs' records, whichever service on the folder writes them."""

import asyncio
import contextlib
from collections.abc import Iterable

from anyio import CapacityLimiter, to_thread

from app.errors import JobNotFound, StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.progress import PROGRESS_INTERVAL_SECONDS
from app.jobs.records import Job


class JobWatcher:
    """Tells any number of callers when the records of their jobs change.

    One thread reads the records of all awaited jobs, one after another, every PROGRESS_INTERVAL_SECONDS. So the callers
    occupy no threads, and while the volume does not answer, only that thread waits for it.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self._thread = CapacityLimiter(1)
        self._awaited: dict[asyncio.Future[Job], Job] = {}
        """For each caller that waits: its future, and the job as the caller knows it."""
        self._reading: asyncio.Task[None] | None = None
        self._looking = asyncio.Event()

    def look(self) -> None:
        """Read the records now, because this service has changed one."""
        self._looking.set()

    async def changed(self, job: Job) -> Job:
        """Wait until the job's record differs from `job`, and return the job. Raises JobNotFound.

        While the store is unavailable, this method continues to wait.
        """
        future: asyncio.Future[Job] = asyncio.get_running_loop().create_future()
        self._awaited[future] = job
        if self._reading is None:
            self._reading = asyncio.create_task(self._read_while_awaited())
        try:
            return await future
        finally:
            del self._awaited[future]

    async def _read_while_awaited(self) -> None:
        try:
            while self._awaited:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._looking.wait(), PROGRESS_INTERVAL_SECONDS)
                self._looking.clear()
                job_ids = {job.id for job in self._awaited.values()}
                self._tell(await to_thread.run_sync(self._read, job_ids, limiter=self._thread))
        except Exception as exc:  # noqa: BLE001 - a defect, which the callers report; they must not wait for ever
            for future in self._awaited:
                if not future.done():
                    future.set_exception(exc)
        finally:
            self._reading = None

    def _read(self, job_ids: Iterable[str]) -> dict[str, Job | None]:
        """Return the jobs by id, None for a job that does not exist. Leave out those that cannot be read now."""
        found: dict[str, Job | None] = {}
        for job_id in job_ids:
            with contextlib.suppress(StoreUnavailable, OSError):  # the next read may succeed
                try:
                    found[job_id] = self._jobs.get(job_id)
                except JobNotFound:
                    found[job_id] = None
        return found

    def _tell(self, found: dict[str, Job | None]) -> None:
        """Pass changed jobs to the callers that wait for them."""
        for future, former in self._awaited.items():
            job = found.get(former.id, former)
            if future.done() or job == former:
                continue
            if job is None:
                future.set_exception(JobNotFound(former.id))
            else:
                future.set_result(job)
