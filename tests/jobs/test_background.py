"""Jobs that a request starts and its service runs in the background, of a kind that exists only in this test."""

from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import pytest

from app.build import build_jobs
from app.errors import StoreUnsafe
from app.jobs.background import BackgroundJobs
from app.jobs.folder import Jobs
from app.jobs.records import JobState
from app.jobs.runner import Work
from tests.support.held_jobs import ME, store_on
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

ADDING = "adding"


class Adding(Work):
    """Adds numbers, or waits until cancelled if there are none, and counts its releases."""

    def __init__(self, *numbers: int) -> None:
        self.total = len(numbers)
        self.released = 0
        self._numbers = numbers

    async def run(self) -> dict[str, Any]:
        if not self._numbers:
            await anyio.sleep_forever()
        self.result_file.write_text(str(self._numbers))
        return {"sum": sum(self._numbers)}

    async def release(self) -> None:
        await anyio.lowlevel.checkpoint()
        self.released += 1


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    """Return the jobs of a new store."""
    return build_jobs(store_on(tmp_path / "models"))


async def test_a_request_begins_a_job_of_a_new_kind(jobs: Jobs) -> None:
    """A background job succeeds with its result in the record and its large result in a file."""
    work = Adding(1, 2)

    job = await BackgroundJobs(jobs).begin(ADDING, {"numbers": 2}, work, ME)
    await eventually_async(lambda: jobs.get(job.id).is_finished)

    assert (jobs.get(job.id).state, jobs.get(job.id).result) == (JobState.SUCCEEDED, {"sum": 3})
    assert jobs.get(job.id).request == {"numbers": 2}
    assert jobs.result_file(job.id).read_text() == "(1, 2)"
    assert work.released == 1


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "not yet"])
async def test_a_job_fails_when_its_service_stops(jobs: Jobs, *, is_running: bool) -> None:
    """A background job fails as abandoned when its service stops, and its resources are released."""
    work, background = Adding(), BackgroundJobs(jobs)
    job = await background.begin(ADDING, {}, work, ME)
    if is_running:
        await eventually_async(lambda: jobs.get(job.id).state is JobState.RUNNING)

    await background.close()

    failure = jobs.get(job.id).failure
    assert failure
    assert failure.error == "JobAbandoned"
    assert work.released == 1


async def test_a_job_that_cannot_begin_releases_its_resources(tmp_path: Path) -> None:
    """A job that the store refuses leaves no record, and its resources are released."""
    store = store_on(tmp_path)
    store.volume.unsafe = "a reason"
    work = Adding(1)

    with pytest.raises(StoreUnsafe):
        await BackgroundJobs(build_jobs(store)).begin(ADDING, {}, work, ME)

    assert work.released == 1
