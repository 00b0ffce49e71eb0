"""One run of a pull, and the files that it finds of an earlier run."""

import os
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio import to_thread

from app.build import build_jobs
from app.fetching.http_client import HttpClient
from app.jobs.records import JobState
from app.jobs.units.unit_claims import Claim
from app.pulls.pull import PullLimits, PullRun
from app.pulls.pull_jobs import PullJobs
from app.pulls.pull_partials import partial_id
from app.pulls.request import PullRequest
from app.pulls.sources.base import Source
from app.pulls.sources.url import UrlSource
from app.store.policy import Policy
from app.store.store import Store
from tests.support.held_jobs import create_pull
from tests.support.hub import Fault, Hub, running_hub
from tests.support.own_pulls import PullService

HOUR = timedelta(hours=1)


async def run_pull(store: Store, hub: Hub, job_id: str) -> list[str]:
    """Run a pull's job once and return the names of the pulled models."""

    async def on_published(_: object) -> None:
        """Do nothing with a published model."""

    source = UrlSource(HttpClient(5), (hub.cdn_url,))
    run = PullRun(build_jobs(store).get(job_id), store, [source], PullLimits(0, 0, HOUR), on_published)
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
        job = create_pull(build_jobs(store), request.to_record())
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
@pytest.mark.parametrize("moment", ["while it publishes", "after its service was killed", "when its source is gone"])
async def test_a_pull_that_has_published_its_model_has_succeeded(tmp_path: Path, moment: str) -> None:
    """A cancellation that comes after the publication does not make the job `cancelled`: the model is there."""
    store = Store(tmp_path, Policy(), trash_retention=HOUR, on_event=lambda *_: None)
    store.open()
    jobs = build_jobs(store)
    with running_hub() as hub:
        request = PullRequest(url=hub.put("/a.bin", b"model"))
        job = create_pull(jobs, request.to_record())

        def cancel() -> None:
            assert not PullJobs(store, jobs).cancel(job.id).is_finished

        async def on_published(_: object) -> None:
            await to_thread.run_sync(cancel)

        if moment != "while it publishes":
            await run_pull(store, hub, job.id)  # publishes the model, and writes no outcome, as if killed then
            cancel()
            if moment == "when its source is gone":
                hub.faults.extend([Fault(status=404)] * 9)
        sources: list[Source] = [UrlSource(HttpClient(60), (hub.cdn_url,))]
        service = PullService(store, jobs, sources, PullLimits(0, 0, HOUR), on_published=on_published)
        await service.runner.work_on(job)
        await service.requests.close()

    ended = jobs.get(job.id)
    assert ended.failure is None, ended
    assert (ended.state, ended.result["models"][0]["name"]) == (JobState.SUCCEEDED, "a.bin")  # type: ignore[index]
    assert (tmp_path / "a.bin").read_bytes() == b"model"
    assert list(store.volume.staging_dir.iterdir()) == []


@pytest.mark.anyio
async def test_a_cancelled_pull_publishes_nothing(tmp_path: Path) -> None:
    """A pull that is cancelled just before its publication leaves neither the model nor a partial file."""
    store = Store(tmp_path, Policy(), trash_retention=HOUR, on_event=lambda *_: None)
    store.open()
    jobs = build_jobs(store)
    events = list[dict[str, Any]]()
    with running_hub() as hub:
        job = create_pull(jobs, PullRequest(url=hub.put("/a.bin", b"model")).to_record())
        sources: list[Source] = [UrlSource(HttpClient(60), (hub.cdn_url,))]
        limits = PullLimits(0, 0, HOUR)
        service = PullService(store, jobs, sources, limits, on_event=lambda _, fields: events.append(fields))
        unended = jobs.units.claims.unended

        def cancelled_first(claim: Claim) -> AbstractContextManager[None]:
            assert PullJobs(store, jobs).cancel(job.id).state is JobState.CANCELLED
            return unended(claim)

        jobs.units.claims.unended = cancelled_first  # type: ignore[method-assign, assignment]
        await service.runner.work_on(job)
        await service.requests.close()

    assert jobs.get(job.id).state is JobState.CANCELLED
    assert not (tmp_path / "a.bin").exists()
    assert list(store.volume.staging_dir.iterdir()) == []
    assert events[-1]["outcome"] == "cancelled"
