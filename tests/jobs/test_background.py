"""Jobs that a request begins and its service runs, of a kind that neither has heard of."""

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
    """Add numbers, or wait for ever without any, and record what is released."""

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
    return build_jobs(store_on(tmp_path / "models"))


async def test_a_request_begins_a_job_of_a_new_kind(jobs: Jobs) -> None:
    """It has its result in its record, and a large one in a file."""
    work = Adding(1, 2)

    job = await BackgroundJobs(jobs).begin(ADDING, {"numbers": 2}, work, ME)
    await eventually_async(lambda: jobs.get(job.id).is_finished)

    assert (jobs.get(job.id).state, jobs.get(job.id).result) == (JobState.SUCCEEDED, {"sum": 3})
    assert jobs.get(job.id).request == {"numbers": 2}
    assert jobs.result_file(job.id).read_text() == "(1, 2)"
    assert work.released == 1


@pytest.mark.parametrize("is_running", [True, False], ids=["running", "not yet"])
async def test_a_job_fails_when_its_service_stops(jobs: Jobs, *, is_running: bool) -> None:
    """Its resources are released even if its work has not begun."""
    work, background = Adding(), BackgroundJobs(jobs)
    job = await background.begin(ADDING, {}, work, ME)
    if is_running:
        await eventually_async(lambda: jobs.get(job.id).state is JobState.RUNNING)

    await background.close()

    failure = jobs.get(job.id).failure
    assert failure
    assert failure.error == "JobAbandoned"
    assert work.released == 1


async def test_what_cannot_begin_is_released(tmp_path: Path) -> None:
    """No job is left of it."""
    store = store_on(tmp_path)
    store.volume.unsafe = "a reason"
    work = Adding(1)

    with pytest.raises(StoreUnsafe):
        await BackgroundJobs(build_jobs(store)).begin(ADDING, {}, work, ME)

    assert work.released == 1
