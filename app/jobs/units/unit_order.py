"""The order of the units of all jobs: by the job's priority, in turns between API keys, the oldest job first."""

import threading
import time
from collections.abc import Callable

from app.errors import StoreError
from app.jobs.folder import Jobs
from app.jobs.records import Job, Priority
from app.jobs.units.unit_claims import Claim
from app.store.records.forms import RecordDamaged

LOOK_SECONDS = 1.0
"""For how many seconds the list of unfinished jobs is used before the folder is read again."""
RANKS = {Priority.HIGH: 0, Priority.NORMAL: 1, Priority.LOW: 2}


class UnitOrder:
    """Claims the next unit for a service. The methods block."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs
        self.claims = jobs.units.claims
        self._waiting: list[Job] = []
        """The unfinished jobs that may have units without a claim, the oldest first."""
        self._looked_at = -LOOK_SECONDS
        self._turns = 0
        self._last_turns: dict[str, int] = {}
        """By the name of the API key, the number of the key's last turn in this service."""
        self._claiming = threading.Lock()

    def look_again(self) -> None:
        """Read the folder at the next claim, because a job was created."""
        self._looked_at = -LOOK_SECONDS

    def claim_next(self, accepts: Callable[[Job], bool]) -> Claim | None:
        """Claim the next unit of the jobs that `accepts` returns True for; None if there is none.

        Jobs of a higher priority come first. Among jobs of the same priority, the API key whose last turn was longest
        ago comes first, so that a key with many units delays another key by one unit; among the jobs of a key, the
        oldest. A job whose files cannot be read delays no other job. Raises StoreError and OSError.
        """
        with self._claiming:
            if time.monotonic() - self._looked_at >= LOOK_SECONDS:
                self._looked_at = time.monotonic()
                self._waiting = self._jobs.unfinished_of_units()
                keys = {job.created_by.name for job in self._waiting}
                self._last_turns = {key: turn for key, turn in self._last_turns.items() if key in keys}
            candidates, refusal = [job for job in self._waiting if accepts(job)], None
            while candidates:
                job = min(candidates, key=self._rank)
                candidates.remove(job)
                try:
                    claim = self.claims.claim(job)
                except RecordDamaged as exc:
                    self._jobs.note_damaged(job, str(exc))
                    claim = None
                except (StoreError, OSError) as exc:
                    claim, refusal = None, exc
                if claim:
                    self._turns += 1
                    self._last_turns[job.created_by.name] = self._turns
                    return claim
                self._waiting.remove(job)
            if refusal:
                raise refusal
            return None

    def _rank(self, job: Job) -> tuple[int, int]:
        return RANKS[job.priority], self._last_turns.get(job.created_by.name, 0)
