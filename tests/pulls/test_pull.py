"""One run of a pull, and the files that it finds of an earlier run."""

import os
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from anyio import to_thread

from app.build import build_jobs
from app.fetching.http_client import HttpClient
from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.records import JobState, mark_cancelled
from app.jobs.runner import run_job
from app.pulls.pull import PullLimits, PullRun
from app.pulls.pull_jobs import PULL, PullJobs
from app.pulls.pull_partials import partial_id
from app.pulls.request import PullRequest
from app.pulls.sources.url import UrlSource
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store
from tests.support.hub import Hub, running_hub

HOUR = timedelta(hours=1)


async def run_pull(store: Store, hub: Hub, job_id: str) -> list[str]:
    """Run a pull's job once and return the names of the pulled models."""

    async def on_published(_: object) -> None:
        """Do nothing with a published model."""

    source = UrlSource(HttpClient(5), (hub.cdn_url,))
    run = PullRun(build_jobs(store).get(job_id), store, source, PullLimits(0, 0, HOUR), on_published)
    result = await run.run()
    await source.aclose()
    return [model["name"] for model in result["models"]]


@pytest.mark.anyio
@pytest.mark.parametrize("has_record", [True, False], ids=["expired", "killed before it had a record"])
async def test_a_stale_partial_file_is_replaced(tmp_path: Path, has_record: bool) -> None:  # noqa: FBT001
    """A pull starts over if its partial file has expired, or has no record because its writer was killed."""
    store = Store(tmp_path, Policy(), trash_retention=HOUR, on_event=lambda *_: None)
    store.open()
    with running_hub() as hub:
        request = PullRequest(url=hub.put("/a.bin", b"model"))
        job = build_jobs(store).create(PULL, request.to_record(), Actor("me"))
        part = store.volume.staging_dir / f"{partial_id(job.id, 'a.bin')}.part"
        part.write_bytes(b"mod")
        if has_record:
            os.utime(part, (0, 0))
            part.with_suffix(".json").write_text(
                f'{{"id": "{part.stem}", "name": "a.bin", "kind": "pull", "actor": "me", "expected_bytes": 5,'
                ' "created_at": "2026-01-01T00:00:00+00:00", "retention": 60, "extra": {"etag": null}}'
            )

        assert await run_pull(store, hub, job.id) == ["a.bin"]
    assert (tmp_path / "a.bin").read_bytes() == b"model"


@pytest.mark.anyio
@pytest.mark.parametrize("moment", ["while it publishes", "after its runner was killed", "before that is noticed"])
async def test_a_pull_that_has_published_its_model_has_succeeded(tmp_path: Path, moment: str) -> None:
    """A cancellation that comes after the publication does not make the job `cancelled`: the model is there."""
    store = Store(tmp_path, Policy(), trash_retention=HOUR, on_event=lambda *_: None)
    store.open()
    jobs = build_jobs(store)
    with running_hub() as hub:
        request = PullRequest(url=hub.put("/a.bin", b"model"))
        job = jobs.create(PULL, request.to_record(), Actor("me"))
        source = UrlSource(HttpClient(60), (hub.cdn_url,))

        async def on_published(_: object) -> None:
            if moment == "while it publishes":
                await to_thread.run_sync(jobs.cancel, job.id)
                while not run.is_cancelled:
                    await anyio.sleep(0.01)
                await anyio.sleep(0.01)  # is interrupted unless the publication is shielded

        if moment != "while it publishes":
            await run_pull(store, hub, job.id)  # publishes the model, and writes no outcome, as if killed then
            if moment == "after its runner was killed":
                assert not PullJobs(store, jobs).cancel(job.id).is_finished
            else:
                mark_cancelled(store.volume.jobs_dir, job.id)
        run = PullRun(jobs.get(job.id), store, source, PullLimits(0, 0, HOUR), on_published)
        with held_by_this_process(jobs, job.id) as held:
            assert await run_job(held, run)
        await source.aclose()

    ended = jobs.get(job.id)
    assert ended.failure is None, ended
    assert (ended.state, ended.result["models"][0]["name"]) == (JobState.SUCCEEDED, "a.bin")  # type: ignore[index]
    assert (tmp_path / "a.bin").read_bytes() == b"model"
    assert list(store.volume.staging_dir.iterdir()) == []


def held_by_this_process(jobs: Jobs, job_id: str) -> HeldJob:
    held = jobs.take(job_id)
    assert held
    return held
