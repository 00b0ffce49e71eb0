"""The jobs of pulls: finds the unfinished job of a request, creates one if there is none, and cancels jobs."""

from app.errors import PullConflict
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.pulls.pull_partials import discard_partials, published_single
from app.pulls.request import PullRequest
from app.store import Actor, Store

PULL = "pull"
"""The job kind of pulls, as records have it."""
PULLS_LOCK = "/pulls"
"""The name of the lock under which a pull's job is looked for and created. No model can have this name."""
PULLS_LOCK_SECONDS = 10.0
"""How long, in seconds, a request waits for that lock. All requests for pulls share it, so many may come at once."""


def request_of(job: Job) -> PullRequest | None:
    """Return the request of a pull's job; None if a newer service wrote it and this service does not understand it."""
    try:
        return PullRequest.from_record(job.request)
    except (TypeError, ValueError, KeyError):
        return None


class PullJobs:
    """The pulls among the jobs of a model folder."""

    def __init__(self, store: Store, jobs: Jobs) -> None:
        self._store = store
        self._jobs = jobs

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

    def find_or_create(self, request: PullRequest, actor: Actor, webhook: str | None = None) -> tuple[Job, bool]:
        """Return the unfinished pull with an equal request, or else a new pull; and whether the pull is new.

        `webhook` is the URL that is told the end of the pull. Raises what `find_unfinished` and `Jobs.create` raise.
        """
        self._store.volume.check_writable()
        with self._store.locks.exclusive(PULLS_LOCK, seconds=PULLS_LOCK_SECONDS):
            if job := self.find_unfinished(request, webhook):
                return job, False
            return self._jobs.create(PULL, request.to_record(), actor, webhook=webhook), True

    def cancel(self, job_id: str) -> Job:
        """Cancel a pull and return it. If no process runs the pull, it finishes now and its partial files are removed.

        If a killed runner has already published the pull's only model, the pull is not cancelled: the next runner
        writes that it has succeeded. Raises what `Jobs.cancel` raises.
        """
        job = self._jobs.get(job_id)
        request = request_of(job)
        if request is None or published_single(self._store, job_id, request) is None:
            job = self._jobs.cancel(job_id)
        if job.is_finished:
            discard_partials(self._store, job_id)
        return job
