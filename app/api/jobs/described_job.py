"""Jobs as answers show them: with the place in the queue, and with what became of the webhook.

Neither is in the job's own record.
"""

from contextlib import suppress
from typing import Annotated

from anyio import to_thread
from fastapi import Depends, Request

from app.api.jobs.schemas import JobEventOut, JobOut, describe
from app.engine.states import EngineState
from app.engine.supervisor import Supervisor
from app.errors import StoreError, StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.records import JOB, Job
from app.jobs.units.queue_places import QueuePlaces, has_place
from app.jobs.units.unit_jobs import UnitCounts
from app.store.volume.living_services import LivingServices
from app.webhooks.records import delivery_of


class DescribeJob:
    """Describes jobs for the requests of one service."""

    def __init__(self, jobs: Jobs, places: QueuePlaces, supervisor: Supervisor, services: LivingServices) -> None:
        self._jobs = jobs
        self._places = places
        self._supervisor = supervisor
        self._services = services

    async def one(self, job: Job) -> JobOut:
        """Return a job as the API shows it, with the damage of its files.

        Results that were lost after its end count as failed. An unfinished job says which of its files keep it waiting.
        """
        shown = (await self.all([job]))[0]
        if not job.is_finished:
            unusable = await to_thread.run_sync(self._unusable_files, job)
            return shown.model_copy(update={"warnings": [*shown.warnings, *unusable]})
        if job.units is None or job.counts_bytes:
            return shown
        counts = await to_thread.run_sync(self._counts, job)
        if counts is None or not counts.lost:
            return shown
        result = shown.result and shown.result | {"failed_count": counts.failed}
        warning = f"Results that are missing or damaged on the disk, and count as failed: {counts.lost}."
        return shown.model_copy(update={"result": result, "warnings": [*shown.warnings, warning]})

    async def event(self, job: Job) -> JobEventOut:
        """Return a job as one record of its stream."""
        return JobEventOut(**dict(await self.one(job)), final=job.is_finished)

    async def all(self, jobs: list[Job]) -> list[JobOut]:
        """Return jobs as the API shows them. Reads the delivery record of each job that has a webhook."""
        if not any(job.webhook or has_place(job) for job in jobs):
            return [describe(job) for job in jobs]
        return await to_thread.run_sync(self._describe, jobs, self._expected_rate())

    def _describe(self, jobs: list[Job], rate: float | None) -> list[JobOut]:
        try:
            places = self._places.of(jobs, rate)
        except StoreUnavailable:  # the jobs were read before
            places = {}
        volume = self._jobs.volume
        return [describe(job, delivery_of(volume, job) if job.webhook else None, places.get(job.id)) for job in jobs]

    def _unusable_files(self, job: Job) -> list[str]:
        """Return a sentence for each file of a job that this service has found unusable, and that has not changed."""
        volume = self._jobs.volume
        folder = f"{volume.jobs_dir.relative_to(volume.root)}/{job.id}/"
        found = (each for each in volume.records.damaged(JOB.kind) if each.path.startswith(folder))
        return [f"{each.path} cannot be used: {each.reason}." for each in found]

    def _counts(self, job: Job) -> UnitCounts | None:
        with suppress(StoreError):  # the routes of its results say so
            return self._jobs.units.counts(job)
        return None

    def _expected_rate(self) -> float | None:
        """Return how many units a second all services would do if each took as long as a turn of this one's engine."""
        seconds = self._supervisor.mean_turn_seconds
        records = [service.record for service in self._services.living_services()]
        ready = sum(1 for each in records if each and not each.is_read_only and each.engine_state == EngineState.READY)
        return max(1, ready) / seconds if seconds else None


async def _described(request: Request) -> DescribeJob:
    state = request.state
    return DescribeJob(state.jobs, state.queue_places, state.supervisor, state.volume_monitor.services)


DescribeJobDep = Annotated[DescribeJob, Depends(_described)]
