"""A hub of the tests' own and services that pull from it."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.api.pulls.requests import CONTENT, FILE, REPOSITORY
from tests.conftest import Serve
from tests.support.hub import Hub, running_hub
from tests.support.service import ECHO, RunningService


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, Hub]]:
    """One service and its hub, for what leaves nothing behind."""
    with running_hub() as hub:
        hub.add(REPOSITORY, FILE, CONTENT)
        folder = tmp_path_factory.mktemp("strict")
        settings: dict[str, Any] = {"hub_endpoint": hub.url, "pull_retry_pause": "0.01s", "pull_retries": 3}
        with RunningService(folder, engine_class=ECHO, **settings) as service:
            yield service, hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        running.add(REPOSITORY, FILE, CONTENT)
        yield running


@pytest.fixture
def start(serve: Serve, hub: Hub) -> Serve:
    """Start services that pull from the test's own hub, and hardly pause before they try again."""
    settings = {"engine_class": ECHO, "hub_endpoint": hub.url, "pull_retry_pause": "0.01s", "pull_retries": 3}
    return lambda **more: serve(**settings | more)
