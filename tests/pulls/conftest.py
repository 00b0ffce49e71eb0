"""Fixtures: a store, a hub, and pulls that run in the test's own process."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest

from app.build import build_jobs
from app.jobs.folder import Jobs
from app.pulls.pull import PullLimits
from app.store.policy import Policy
from app.store.store import Store
from tests.support.hub import Hub, running_hub
from tests.support.own_pulls import LIMITS, OwnPulls

MakePulls = Callable[..., OwnPulls]


@pytest.fixture
def own_store(tmp_path: Path) -> Store:
    """Return the store of an empty folder."""
    store = Store(tmp_path / "models", Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    return store


@pytest.fixture
def own_jobs(own_store: Store) -> Jobs:
    """Return the jobs of the store."""
    return build_jobs(own_store)


@pytest.fixture
def own_hub() -> Iterator[Hub]:
    """Run a hub for one test."""
    with running_hub() as hub:
        yield hub


@pytest.fixture
def make_pulls(own_store: Store, own_jobs: Jobs, own_hub: Hub) -> Iterator[MakePulls]:
    """Make pulls from the hub, from its CDN, and from other allowed URLs, with limits that the test may set."""
    with ExitStack() as closing:

        def make(*allowed: str, limits: PullLimits = LIMITS) -> OwnPulls:
            pulls = OwnPulls(own_store, own_jobs, (own_hub.cdn_url, *allowed), limits=limits, hub=own_hub.url)
            closing.callback(pulls.close)
            return pulls

        yield make
