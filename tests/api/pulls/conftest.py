"""Fixtures: a local hub, and services that pull from it."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from tests.api.pulls.requests import CONTENT, FILE, FINISHED, REPOSITORY
from tests.conftest import Serve
from tests.support.hub import Hub, running_hub
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually


@pytest.fixture(scope="session")
def shared_hub() -> Iterator[Hub]:
    """Run a hub for all tests of this process. Tests use `hub`."""
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(shared_hub: Hub) -> Hub:
    """Return the shared hub with one model and no faults."""
    shared_hub.forget()
    shared_hub.add(REPOSITORY, FILE, CONTENT)
    return shared_hub


def settings_for(hub: Hub) -> dict[str, Any]:
    """Return settings of a service that pulls from the hub and retries after 10 ms."""
    return {"engine_class": ECHO, "hub_endpoint": hub.url, "pull_retry_pause": "0.01s", "pull_retries": 3}


@pytest.fixture
def start(serve_jobs: Serve, hub: Hub) -> Serve:
    """Start services that pull from the test's hub and retry after 10 ms."""
    return lambda **more: serve_jobs(**settings_for(hub) | more)


@pytest.fixture(scope="module")
def shared_puller(
    shared_hub: Hub, tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]
) -> Iterator[RunningService]:
    """Run a service that pulls from the shared hub, for all tests of a module. Tests use `service`."""
    settings = settings_for(shared_hub) | jobs_settings | {"pull_allowed_urls": f"{shared_hub.cdn_url}/models"}
    settings |= {"resources_url": f"{shared_hub.cdn_url}/ocr/"}
    with RunningService(tmp_path_factory.mktemp("puller"), **settings) as running:
        yield running.wait_for_queue()


@pytest.fixture
def service(shared_puller: RunningService, hub: Hub) -> Iterator[RunningService]:
    """Return the shared service with an empty folder. It may pull from URLs below `/models` of the hub's CDN."""
    yield shared_puller.clear()
    cancel_unfinished_pulls(shared_puller)


@pytest.fixture(scope="module")
def shared_pair(
    shared_hub: Hub, tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]
) -> Iterator[list[RunningService]]:
    """Run two services on one folder for all tests of a module. Tests use `pair`."""
    folder, settings = tmp_path_factory.mktemp("pair"), settings_for(shared_hub) | jobs_settings
    with ExitStack() as running:
        yield [running.enter_context(RunningService(folder, **settings)).wait_for_queue() for _ in range(2)]


@pytest.fixture
def pair(shared_pair: list[RunningService], hub: Hub) -> Iterator[list[RunningService]]:
    """Return the two shared services, with an empty folder. They may pull from no URL."""
    yield [each.clear() for each in shared_pair]
    cancel_unfinished_pulls(shared_pair[0])


def cancel_unfinished_pulls(service: RunningService) -> None:
    """Cancel the pulls that a failed test has left, so that the next test has the hub to itself."""
    for job in service.client.get("/pulls").raise_for_status().json()["jobs"]:
        if job["state"] not in FINISHED:
            service.client.delete(f"/pulls/{job['id']}")
            eventually(lambda: service.client.get(f"/pulls/{job['id']}").json()["state"] in FINISHED)  # noqa: B023
