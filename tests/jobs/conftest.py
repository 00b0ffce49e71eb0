"""A store and the jobs in it, for all tests of jobs."""

from pathlib import Path

import pytest

from app.build import build_jobs
from app.jobs.folder import Jobs
from app.store.store import Store
from tests.support.held_jobs import store_on


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return store_on(tmp_path / "models")


@pytest.fixture
def jobs(store: Store) -> Jobs:
    return build_jobs(store)
