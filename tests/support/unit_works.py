"""Jobs of units for tests: a job of a kind that exists only in tests, and the work on its units.

The work is not the engine's, because the engine cannot be made to stop between two steps on demand.
"""

import json
import threading
from collections.abc import Awaitable, Callable, Iterable
from pathlib import Path
from typing import Any

from app.jobs.folder import Jobs
from app.jobs.records import Job, Priority
from app.jobs.units.lanes import Place
from app.jobs.units.records import JobFolder, Task, Unit, failure_of
from app.jobs.units.unit_claims import Claim, Outcome
from app.jobs.units.unit_work import PlainRun, UnitRun, UnitWork
from app.store.actor import Actor
from app.store.store import Store

KIND = "units-of-a-test"
ME = Actor("me", "request-1")


def create(jobs: Jobs, *texts: str, actor: Actor = ME, priority: Priority = Priority.NORMAL, **parameters: Any) -> Job:
    """Create a job with a unit for each text."""
    return create_of(jobs, [Unit(text=text) for text in texts], Task(parameters), actor, priority)


def create_of(
    jobs: Jobs,
    units: Iterable[Unit],
    task: Task | None = None,
    actor: Actor = ME,
    priority: Priority = Priority.NORMAL,
    files: Iterable[bytes] = (),
) -> Job:
    """Create a job of units, each with a file if there are `files`."""
    with jobs.units.new() as new:
        for number, data in enumerate(files):
            new.folder.input_of(number).write_bytes(data)
        new.add_all(units)
        return jobs.units.create(new, KIND, {}, actor, task or Task({}), priority)


def folder_of(store: Store, job: Job) -> JobFolder:
    """Return the paths of a job."""
    return JobFolder(store.volume.jobs_dir, job.id)


def results_file(jobs: Jobs, folder: Path) -> Path:
    """Return the file to which a service writes its results of a job, by the job's folder."""
    return folder / f"results.{jobs.units.claims.writer}.jsonl"


def finish(jobs: Jobs, claim: Claim) -> Job:
    """Complete a claimed unit with its own text, and release it."""
    try:
        return jobs.units.claims.complete(claim, outcome_of(claim))
    finally:
        claim.release()


def finish_one(jobs: Jobs, job: Job) -> Job:
    """Complete the next unit of a job."""
    claim = jobs.units.claims.claim(job)
    assert claim
    return finish(jobs, claim)


def outcome_of(claim: Claim) -> Outcome:
    """Return the outcome of a unit that succeeded: its number and its text."""
    return Outcome(json.dumps({"unit": claim.number, "text": claim.unit.text}))


def results_of(jobs: Jobs, job: Job) -> list[dict[str, Any]]:
    """Read all results of a job, in the order of their completion."""
    places = jobs.units.results(job, after=0, limit=1 << 20)
    return [json.loads(jobs.units.read_result(job, place)) for place in places]


def numbers_of(jobs: Jobs, job: Job) -> list[int]:
    """Return the numbers of the units with a result, sorted; a unit with two results is there twice."""
    return sorted(result["unit"] for result in results_of(jobs, job))


def log_lines(store: Store, job: Job) -> list[str]:
    """Return what the entries of a job's log say."""
    path: Path = folder_of(store, job).log
    return [json.loads(line)["event"] for line in path.read_text().splitlines() if line]


class TestedWork(UnitWork):
    """Calls a function of the test for each unit, and makes the unit's text its result."""

    __test__ = False

    def __init__(self, on_each: Callable[[Claim], Awaitable[None]] | None = None) -> None:
        self.seen: list[tuple[str, int]] = []
        """The job and the number of each unit, in the order in which the work on it began."""
        self._on_each = on_each
        self._adding = threading.Lock()

    def understands(self, parameters: dict[str, Any]) -> bool:
        return not parameters

    def begin(self, claim: Claim, place: Place) -> UnitRun:
        return PlainRun(self._run, claim)

    async def _run(self, claim: Claim) -> Outcome:
        with self._adding:
            self.seen.append((claim.job.id, claim.number))
        if self._on_each:
            await self._on_each(claim)
        return outcome_of(claim)

    def failed(self, claim: Claim, error: Exception) -> Outcome:
        return Outcome(json.dumps({"unit": claim.number, "error": str(error)}), failure_of(error))
