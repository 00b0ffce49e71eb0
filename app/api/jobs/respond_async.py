"""The header `Prefer` (RFC 7240): a caller requests a job instead of a late answer, and says how long it would wait."""

from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any

import http_sf
from anyio import CancelScope, to_thread
from fastapi import Depends, Header, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.http import threads
from app.api.http.deps import ActorDep, part
from app.api.http.problems import problems
from app.api.http.request_errors import ServiceReadOnly
from app.api.jobs.described_job import DescribeJob, DescribeJobDep
from app.api.jobs.idempotency_key import IdempotencyKey
from app.api.jobs.long_poll import MAX_WAIT_SECONDS, finished_or_latest
from app.api.jobs.schemas import JobOut
from app.jobs.folder import Jobs
from app.jobs.records import Job, Priority
from app.jobs.units.kinds import ItemJobKind
from app.jobs.units.new_units import NewUnits
from app.jobs.units.records import Task
from app.jobs.units.unit_runner import UnitRunner
from app.store import Actor

APPLIED = "preference-applied"
ACCEPTED: dict[int | str, dict[str, Any]] = {
    202: {
        "model": JobOut,
        "description": "The job that does the work, if the request has `Prefer: respond-async`.",
        "headers": {
            "location": {"description": "The job's address.", "schema": {"type": "string"}},
            APPLIED: {"description": "The preferences that were applied.", "schema": {"type": "string"}},
        },
    }
}


CREATION_ERRORS = (
    errors.IdempotencyKeyReused,
    errors.TooManyUnits,
    errors.QueueUnavailable,
    errors.StoreUnavailable,
    *errors.UNWRITABLE,
    errors.StoreFull,
)
"""The errors of creating a job."""


def accepted_or(*exceptions: type[Exception]) -> dict[int | str, dict[str, Any]]:
    """Return a route's `responses`: 202 with a job, and the problems of `exceptions` and of creating a job."""
    return ACCEPTED | problems(*exceptions, *CREATION_ERRORS)


def check_priority(priority: Priority, *, is_for_job: bool) -> None:
    """Raise RequestValidationError for a priority other than the default in a request that creates no job."""
    if priority != Priority.NORMAL and not is_for_job:
        reason = "only a job has a priority; send `Prefer: respond-async` too, or leave it out"
        raise RequestValidationError([{"loc": ("query", "priority"), "msg": reason}])


@dataclass(frozen=True, slots=True)
class PreferredJob:
    """The job that a caller prefers to a late answer."""

    request: Request
    jobs: Jobs
    runner: UnitRunner
    actor: Actor
    described: DescribeJob
    idempotency_key: str | None
    max_waiting: int
    """How many units without a result the jobs of one API key may have."""
    wait_seconds: int
    """For how long the caller would wait for the results, in seconds; 0 to answer with the job at once."""

    @asynccontextmanager
    async def new_units(self) -> AsyncIterator[NewUnits]:
        """Make the folder of a new job, into which its units are received. Without a job, the folder is removed.

        A request whose Idempotency-Key has a job queues nothing, so it needs neither the queue nor room. Raises
        QueueUnavailable, TooManyUnits, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        if not await self._has_job():
            await self.runner.queue.check()
            await self._require_room()  # before the body is received
        stack = ExitStack()
        new = await to_thread.run_sync(stack.enter_context, self.jobs.units.new(), limiter=threads.changes)
        try:
            yield new
        finally:
            with CancelScope(shield=True):
                await to_thread.run_sync(stack.close, limiter=threads.changes)

    async def create(
        self,
        new: NewUnits,
        kind: ItemJobKind,
        asked: dict[str, Any],
        parameters: dict[str, Any],
        *,
        priority: Priority,
        webhook: str | None,
        fingerprint: str | None = None,
    ) -> Job:
        """Create the job of the received units. `asked` is what the job shows of the request.

        `webhook` is the URL that is told the end of the job, `fingerprint` the digest of a request whose units cannot
        be read again; see `earlier`. Raises TooManyUnits, IdempotencyKeyReused, StoreUnavailable, StoreReadOnly,
        StoreFull; QueueUnavailable, and then there is no job.
        """
        create = partial(
            self.jobs.units.create,
            new,
            kind,
            asked,
            self.actor,
            Task(parameters, self.request.url.path),
            priority=priority,
            webhook=webhook,
            idempotency_key=self.idempotency_key,
            fingerprint=fingerprint,
            room=self.jobs.room_for(self.actor, new.job_id, new.count, self.max_waiting),
        )
        job = await to_thread.run_sync(create, limiter=threads.changes)
        if new.is_created:
            try:
                await self.runner.queue.add(job)
            except errors.QueueUnavailable:
                await to_thread.run_sync(self.jobs.units.withdraw, new, limiter=threads.changes)
                raise
            self.runner.wake()
        return job

    async def earlier(self, fingerprint: str, webhook: str | None) -> Job | None:
        """Return the job that the request's Idempotency-Key has created; None without one.

        Raises IdempotencyKeyReused, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        if self.idempotency_key is None:
            return None
        keys = self.jobs.units.keys
        job_of = partial(
            keys.job_of,
            self.actor,
            self.idempotency_key,
            fingerprint,
            self.jobs.get,
            lambda job: job.webhook == webhook,
        )
        return await to_thread.run_sync(job_of, limiter=threads.changes)

    async def _has_job(self) -> bool:
        """Return True if the request's Idempotency-Key has created a job, which may be that of another request."""
        if self.idempotency_key is None:
            return False
        has_job = self.jobs.units.keys.has_job
        return await to_thread.run_sync(has_job, self.actor, self.idempotency_key, self.jobs.get)

    async def _require_room(self) -> None:
        """Raise TooManyUnits if the caller's jobs may not have one more unit."""
        waiting = await to_thread.run_sync(self.jobs.waiting_units, self.actor)
        if waiting >= self.max_waiting:
            raise errors.TooManyUnits(waiting, self.max_waiting)

    async def answer(self, prefix: str, job: Job, answer_of: Callable[[Jobs, Job], Response | None]) -> Response:
        """Answer 202 with the job, or with its results if they are ready within `wait_seconds`.

        `answer_of` makes the answer of a finished job, in a thread; None if its results can only be had from the job.
        If the caller disconnects, the job continues. Raises CallerGone.
        """
        location = f"{self.request.scope.get('root_path', '')}{prefix}/{job.id}"
        if not self.wait_seconds:
            return await self._accepted(job, location, "respond-async")
        watcher = self.request.state.job_watcher
        job = await finished_or_latest(self.request, watcher, job, self.wait_seconds)
        applied = f"wait={self.wait_seconds}"
        if job.is_finished and (answer := await to_thread.run_sync(answer_of, self.jobs, job)):
            answer.headers[APPLIED] = applied
            answer.headers["content-location"] = f"{location}/results"
            return answer
        return await self._accepted(job, location, f"respond-async, {applied}")

    async def _accepted(self, job: Job, location: str, applied: str) -> Response:
        described = await self.described.one(job)
        return JSONResponse(described.model_dump(mode="json"), 202, {"location": location, APPLIED: applied})


async def _new_job(
    request: Request,
    jobs: Annotated[Jobs, part("jobs")],
    runner: Annotated[UnitRunner, part("unit_runner")],
    actor: ActorDep,
    described: DescribeJobDep,
    max_waiting: Annotated[int, part("max_waiting_units")],
    idempotency_key: IdempotencyKey = None,
) -> PreferredJob:
    return PreferredJob(request, jobs, runner, actor, described, idempotency_key, max_waiting, wait_seconds=0)


_NewJobDep = Annotated[PreferredJob, Depends(_new_job)]


async def _preferred_wait(
    request: Request,
    _: Annotated[
        str | SkipJsonSchema[None],
        Header(
            alias="prefer",
            description="`respond-async`: answer at once with a job, which continues when its caller disconnects. "
            f"`respond-async, wait=20`: wait up to 20 seconds ({MAX_WAIT_SECONDS} at most) for the results, and answer "
            "with a job only if they are not ready by then. A read-only service creates no jobs and ignores this.",
            examples=["respond-async, wait=20"],
        ),
    ] = None,
) -> int | None:
    """Return for how long the caller would wait for the results of a job, in seconds; None if it prefers no job."""
    # RFC 7240 is older than structured fields, but real values parse as one once their names are in lower case.
    text = ", ".join(request.headers.getlist("prefer")).lower()
    try:
        preferences: Any = http_sf.parse(text.encode("latin-1"), tltype="dictionary")
    except http_sf.StructuredFieldError:
        return None
    if "respond-async" not in preferences or preferences["respond-async"][0] is not True:
        return None
    wait, _parameters = preferences.get("wait", (0, {}))
    is_number = isinstance(wait, int) and not isinstance(wait, bool)
    return min(max(wait, 0), MAX_WAIT_SECONDS) if is_number else 0


async def _preferred_job(
    request: Request, job: _NewJobDep, wait_seconds: Annotated[int | None, Depends(_preferred_wait)]
) -> PreferredJob | None:
    # A job is a record in the model folder, where a read-only service writes nothing. RFC 7240 lets it ignore `Prefer`.
    if wait_seconds is None or request.state.access.read_only:
        return None
    return replace(job, wait_seconds=wait_seconds)


async def _job_in_any_case(request: Request, job: _NewJobDep) -> PreferredJob:
    if request.state.access.read_only:
        raise ServiceReadOnly
    return job


PreferredJobDep = Annotated[PreferredJob | None, Depends(_preferred_job)]
"""The job that the request prefers; None if the request wants its answer only, or the service creates no jobs."""
JobInAnyCaseDep = Annotated[PreferredJob, Depends(_job_in_any_case)]
"""The job of a request that is always answered with one. Raises ServiceReadOnly in a service that creates no jobs."""
