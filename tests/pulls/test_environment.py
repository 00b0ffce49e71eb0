"""What the environment breaks: pulls fail with the reason, and the service goes on."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from anyio import CapacityLimiter
from huggingface_hub import close_session

from app.build import build_jobs
from app.errors import PullsMisconfigured, SourceUnavailable
from app.events import EventName
from app.fetching.http_client import HttpClient
from app.pulls.pull import PullLimits
from app.pulls.request import PullRequest
from app.pulls.sources.base import Source, SourceFile
from app.pulls.sources.hub import HubSource
from app.pulls.sources.url import UrlSource
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.held_jobs import create_pull
from tests.support.hub import running_hub
from tests.support.own_pulls import PullService
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually, eventually_async

BROKEN = {
    "NO_PROXY": "fd07:b51a:cc66:f0::/64",
    "https_proxy": "foo://proxy.example:1",
    "ALL_PROXY": "socks5://127.0.0.1:9",
    "SSL_CERT_FILE": "/nonexistent.pem",
}


@pytest.mark.anyio
@pytest.mark.parametrize("variable", BROKEN)
async def test_a_broken_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str) -> None:
    """A variable that the HTTP client cannot use fails a pull of either source with an error that names it."""
    monkeypatch.setenv(variable, BROKEN[variable])
    asked: list[tuple[Source, PullRequest]] = [
        (UrlSource(HttpClient(5), ("http://127.0.0.1",)), PullRequest(url="http://127.0.0.1/a.bin")),
        (HubSource(HttpClient(5), endpoint="http://127.0.0.1", token=None), PullRequest(repository="a/b", files="*")),
    ]

    for source, request in asked:
        with pytest.raises(PullsMisconfigured, match=variable):
            await source.resolve(request, CapacityLimiter(1))


@pytest.mark.anyio
async def test_the_password_of_a_proxy_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The error for an invalid URL of a proxy does not show the password in that URL."""
    monkeypatch.setenv("HTTPS_PROXY", "http://me:hunter2@proxy.example:no")

    with pytest.raises(PullsMisconfigured) as refused:
        await HttpClient(5).connect()
    assert "hunter2" not in str(refused.value)


@pytest.mark.anyio
async def test_a_port_that_no_proxy_can_have_fails_the_pull(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy's port beyond 65535, which Python finds when it connects, makes the source unavailable."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:99999")
    close_session()
    asked: list[tuple[Source, PullRequest]] = [
        (UrlSource(HttpClient(5), ("http://a.example",)), PullRequest(url="http://a.example/a.bin")),
        (HubSource(HttpClient(5), endpoint="http://a.example", token=None), PullRequest(repository="a/b", files="*")),
    ]

    for source, request in asked:
        with pytest.raises(SourceUnavailable):
            await source.resolve(request, CapacityLimiter(1))
        await source.aclose()
    close_session()  # huggingface_hub keeps one client for the process, which has read the environment


@pytest.mark.anyio
async def test_an_allowed_url_that_no_host_can_have_is_named() -> None:
    """A host that is not valid in OCR_PULL_ALLOWED_URLS fails a pull with an error that names the setting."""
    source = UrlSource(HttpClient(5), ("http://xn--/",))

    with pytest.raises(PullsMisconfigured, match="OCR_PULL_ALLOWED_URLS"):
        await source.resolve(PullRequest(url="http://a.example/a.bin"), CapacityLimiter(1))


@pytest.mark.parametrize(
    ("variable", "value", "reason"),
    [
        ("NO_PROXY", BROKEN["NO_PROXY"], "NO_PROXY"),
        pytest.param("HF_HUB_OFFLINE", "1", "HF_HUB_OFFLINE", marks=pytest.mark.slow),
    ],
)
def test_the_service_goes_on_and_says_why_it_cannot_pull(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, reason: str
) -> None:
    """A service whose environment forbids pulls answers a pull with 501 and the reason at once, and does the rest."""
    with running_hub() as hub:
        hub.add("org/repo", "a.bin", b"model")
        with monkeypatch.context() as broken:
            broken.setenv(variable, value)
            service = _served_without_proxies(serve, broken, hub_endpoint=hub.url)

        refused = service.client.post("/pulls", json={"repository": "org/repo", "file": "a.bin"})

        assert problem_of(refused) == (501, "pulls-misconfigured")
        assert reason in refused.json()["detail"]
        assert service.client.get("/models").status_code == 200
        assert hub.seen == []


def _served_without_proxies(serve: Serve, broken: pytest.MonkeyPatch, **settings: object) -> RunningService:
    """Start a service in the broken environment, with a client of the test that does not read it."""
    import tests.support.service as running  # noqa: PLC0415 - patched only here

    client = running.httpx.Client
    broken.setattr(running.httpx, "Client", lambda **options: client(**options, trust_env=False))
    return serve(engine_class=ECHO, **settings)


class Broken(UrlSource):
    """A source with a defect: it raises an error that is none of a source. Only a fake can have one on demand."""

    def accepts(self, request: PullRequest) -> bool:
        return (request.url or "").startswith("broken:")

    async def resolve(self, request: PullRequest, threads: CapacityLimiter) -> list[SourceFile]:
        raise KeyError("size")


@pytest.mark.anyio
async def test_a_defect_fails_one_pull_only(tmp_path: Path) -> None:
    """A pull that a defect ends fails with the reason; the runner goes on and runs the next pull."""
    store = Store(tmp_path, Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    jobs, seen = build_jobs(store), list[tuple[EventName, dict[str, Any]]]()
    crashing = create_pull(jobs, PullRequest(url="broken://a/b.bin").to_record())

    with running_hub() as hub:
        sources = [Broken(HttpClient(5), ()), UrlSource(HttpClient(5), (hub.cdn_url,))]
        limits = PullLimits(0, 0, timedelta(days=1))
        service = PullService(store, jobs, sources, limits, on_event=lambda *event: seen.append(event))
        task = asyncio.create_task(service.runner.run())
        await eventually_async(lambda: jobs.get(crashing.id).is_finished)
        job, _ = await service.ask_for(PullRequest(url=hub.put("/a.bin", b"model")), Actor("me"))
        await eventually_async(lambda: jobs.get(job.id).is_finished)
        service.runner.stop()
        await asyncio.wait({task})
        await service.requests.close()

    failure = jobs.get(crashing.id).failure
    assert failure
    assert "defect" in failure.detail
    assert jobs.get(job.id).state == "succeeded"
    assert EventName.JOB_CRASHED in [name for name, _ in seen]


def test_a_service_that_a_defect_ends_reports_no_success(tmp_path: Path) -> None:
    """If a part of the service raises, the service ends with status 1 and names the part in its log."""
    with RunningService(tmp_path, module="tests.support.defects.failing_part", engine_class=ECHO) as service:
        assert eventually(lambda: service.process.poll() is not None, within=60)
        assert service.process.returncode == 1
        assert "service.part_failed" in service.log
