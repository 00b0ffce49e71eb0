"""The jobs of pulls: finds the unfinished job of a request, creates one if there is none, and cancels jobs."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from urllib.parse import urlsplit

from app.errors import ModelInUse, ModelLocked, PullConflict, StoreUnavailable
from app.jobs.folder import Jobs
from app.jobs.idempotency import RequestKey
from app.jobs.progress import Progress
from app.jobs.records import Job, new_job
from app.pulls.pull_partials import discard_partials, published_single
from app.pulls.request import PullRequest
from app.store import Actor, Store, explaining_refusals

PULL = "pull"
"""The job kind of pulls, as records have it."""
PULLS_LOCK = "/pulls"
"""The name of the lock under which a pull's job is looked for and created. No model can have this name."""
PULLS_LOCK_SECONDS = 10.0
"""How long, in seconds, a request waits for that lock. All requests for pulls share it, so many may come at once."""


MAX_WAITING = 1_000_000
"""How many units may wait if nothing else is said."""


def request_of(job: Job) -> PullRequest | None:
    """Return the request of a pull's job; None if a newer service wrote it and this service does not understand it."""
    try:
        return PullRequest.from_record(job.request)
    except (TypeError, ValueError, KeyError):
        return None


class PullJobs:
    """The pulls among the jobs of a model folder."""

    def __init__(self, store: Store, jobs: Jobs, max_waiting: int = MAX_WAITING) -> None:
        """`max_waiting` is how many units without a result the jobs of one API key may have."""
        self._store = store
        self._jobs = jobs
        self._max_waiting = max_waiting

    def find_unfinished(self, request: PullRequest, webhook: str | None = None) -> Job | None:
        """Return the unfinished pull with an equal request; None if there is none.

        Raises PullConflict if an unfinished pull with another request has the same target name, or does not tell
        `webhook` its end; and StoreUnavailable.
        """
        for job in self._jobs.unfinished(PULL):
            other = request_of(job)
            if other == request and webhook in {None, job.webhook}:
                return job
            if other and other.target == request.target:
                raise PullConflict(request.target, job.id)
        return None

    def find_or_create(
        self, request: PullRequest, actor: Actor, webhook: str | None = None, key: RequestKey | None = None
    ) -> tuple[Job, bool]:
        """Return the unfinished pull with an equal request, or else a new pull; and whether the pull is new.

        `webhook` is the URL that is told the end of the pull. A `key` that was sent before gets its job. Raises
        PullConflict, IdempotencyKeyReused, TooManyUnits, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        self._store.volume.check_writable()
        keys = self._jobs.units.keys
        fingerprint = key.fingerprint if key else ""
        with (
            explaining_refusals(),
            self._locked(),
            keys.held(actor, key.text if key else None) as held,
        ):
            if job := held.job_of(fingerprint, self._jobs.get):
                return job, False
            if job := self.find_unfinished(request, webhook):
                held.note(job.id, fingerprint)
                return job, False
            job = new_job(PULL, request.to_record(), actor, Progress(), webhook)
            with self._jobs.units.new() as new, self._jobs.room_for(actor, new.job_id, 1, self._max_waiting):
                # Before the job's record, so that a kill in between makes no second pull.
                held.note(new.job_id, fingerprint)
                return self._jobs.units.create_of_one(new, replace(job, source=source_of(request))), True

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Hold the lock under which pulls are looked for and created. Raises StoreUnavailable if it stays taken."""
        with ExitStack() as lock:
            try:
                lock.enter_context(self._store.locks.exclusive(PULLS_LOCK, seconds=PULLS_LOCK_SECONDS))
            except (ModelLocked, ModelInUse) as exc:
                raise StoreUnavailable("other requests for pulls are still running. Try again in a moment") from exc
            yield

    def cancel(self, job_id: str) -> Job:
        """Cancel a pull and return it. If no process runs the pull, its partial files are removed.

        If the pull's only model has been published already, the pull is not cancelled: the service that runs it, or
        the next one, writes that it has succeeded. Raises what `Jobs.cancel` raises.
        """
        request = request_of(self._jobs.get(job_id))
        job = self._jobs.cancel(
            job_id, lambda: request is not None and published_single(self._store, job_id, request) is not None
        )
        if job.is_finished:
            discard_partials(self._store, job_id)
        return job


def source_of(request: PullRequest) -> str:
    """Return where the bytes of a pull come from: the host of its URL, `hub`, or `resources` for an OCR model."""
    if request.resource:
        return "resources"
    return urlsplit(request.url).netloc.rpartition("@")[2] if request.url else "hub"
