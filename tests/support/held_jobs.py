"""What the tests of jobs share: stores, pulls, and the code of a process that holds a pull until it is killed."""

import json
import shutil
from datetime import timedelta
from pathlib import Path
from typing import Any

from app.jobs.folder import Jobs
from app.jobs.progress import Progress
from app.jobs.records import Job, new_job, record_of, record_of_units
from app.jobs.units.records import failure_of
from app.jobs.units.unit_claims import Outcome
from app.pulls.pull_jobs import PULL
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store

ME = Actor("me", "request-1")
DAY = timedelta(days=1)

HOLDS = """
import sys
from pathlib import Path
from app.build import build_jobs
from app.jobs.progress import Progress
from tests.support.held_jobs import create_pull, store_on
jobs = build_jobs(store_on(Path(sys.argv[1])))
claim = jobs.units.claims.claim(create_pull(jobs))
jobs.units.claims.report(claim, "downloading", Progress(1, 3))
print("held", flush=True)
sys.stdin.read()
"""
"""The code of a process that creates a pull and holds it until it is killed."""


def store_on(root: Path) -> Store:
    """Open a store on a folder."""
    store = Store(root, Policy(), trash_retention=DAY, on_event=lambda *_: None)
    store.open()
    return store


def create_pull(
    jobs: Jobs, request: dict[str, Any] | None = None, actor: Actor = ME, webhook: str | None = None
) -> Job:
    """Create a pull without asking its source."""
    record = {"url": "http://localhost/"} if request is None else request
    with jobs.units.new() as new:
        return jobs.units.create_of_one(new, new_job(PULL, record, actor, Progress(), webhook))


def finish_pull(jobs: Jobs, job: Job, result: dict[str, Any] | None = None, error: Exception | None = None) -> Job:
    """End a pull that no process holds, with a result or an error."""
    claim = jobs.units.claims.claim(job)
    assert claim
    try:
        return jobs.units.claims.complete(
            claim, Outcome(json.dumps(result or {}), failure_of(error) if error else None)
        )
    finally:
        claim.release()


def former_record(store: Store, job: Job, **changes: Any) -> Path:
    """Write the record of a job as a former version did, instead of the present one."""
    record = json.loads(record_of_units(store.volume.jobs_dir, job.id).read_text())
    shutil.rmtree(store.volume.jobs_dir / job.id)
    path = record_of(store.volume.jobs_dir, job.id)
    for name in ("units", "priority", "source"):
        record.pop(name, None)
    path.write_text(json.dumps(record | changes))
    return path


def files(store: Store) -> list[str]:
    """Return the names of the files in the store's jobs folder."""
    return sorted(path.name for path in store.volume.jobs_dir.iterdir())
