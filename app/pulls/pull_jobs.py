"""The jobs of pulls: found by their request, created once for it, and cancelled."""

from app.errors import PullConflict
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.pulls.pull_partials import discard_partials
from app.pulls.request import PullRequest
from app.store import Actor, Store
from app.store.locks.model_locks import LOCK_SECONDS

PULL = "pull"
"""The kind of these jobs."""
PULLS_LOCK = "/pulls"
"""A lock name that no model can have. It is held from looking for a pull to creating one."""


def request_of(job: Job) -> PullRequest | None:
    """Return a pull's request; None when a newer service wrote one that this service does not understand."""
    try:
        return PullRequest.from_record(job.request)
    except (TypeError, ValueError, KeyError):
        return None


class PullJobs:
    """The pulls among the jobs of a store."""

    def __init__(self, store: Store, jobs: Jobs) -> None:
        self._store = store
        self._jobs = jobs

    def find_unfinished(self, request: PullRequest) -> Job | None:
        """Return the unfinished pull of the same request, if there is one.

        Raises PullConflict when an unfinished pull brings something else to the same name, and StoreUnavailable.
        """
        for job in self._jobs.unfinished(PULL):
            other = request_of(job)
            if other == request:
                return job
            if other and other.target == request.target:
                raise PullConflict(request.target, job.id)
        return None

    def find_or_create(self, request: PullRequest, actor: Actor) -> tuple[Job, bool]:
        """Return the unfinished pull of the same request, or a new one, and whether it is new.

        Raises what `find_unfinished` and `Jobs.create` raise.
        """
        self._store.volume.check_writable()
        with self._store.locks.exclusive(PULLS_LOCK, seconds=LOCK_SECONDS):
            job = self.find_unfinished(request)
            return (job, False) if job else (self._jobs.create(PULL, request.to_record(), actor), True)

    def cancel(self, job_id: str) -> Job:
        """Cancel a pull and return it. One without a runner ends at once, and its partial files are removed.

        Raises what `Jobs.cancel` raises.
        """
        job = self._jobs.cancel(job_id)
        if job.is_finished:
            discard_partials(self._store, job_id)
        return job
