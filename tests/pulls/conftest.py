"""Fixtures: a hub, and pulls that run in the test's own process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from app.jobs.folder import Jobs
from app.pulls.pull import PullLimits
from app.store.store import Store
from tests.support.hub import Hub, running_hub
from tests.support.own_pulls import LIMITS, OwnPulls

MakePulls = Callable[..., OwnPulls]


@pytest.fixture
def own_hub() -> Iterator[Hub]:
    """Run a hub for one test."""
    with running_hub() as hub:
        yield hub


@pytest.fixture
def make_pulls(store: Store, jobs: Jobs, own_hub: Hub) -> Iterator[MakePulls]:
    """Make pulls from the hub, from its CDN, and from other allowed URLs, with limits that the test may set."""
    with ExitStack() as closing:

        def make(*allowed: str, limits: PullLimits = LIMITS) -> OwnPulls:
            pulls = OwnPulls(store, jobs, (own_hub.cdn_url, *allowed), limits=limits, hub=own_hub.url)
            closing.callback(pulls.close)
            return pulls

        yield make
