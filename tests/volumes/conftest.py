"""A file system that is mounted twice for the tests of a module."""

import os
from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.volumes.mounting import FILE_SYSTEMS, CannotMount, Mounts

NEVER_SKIPPED_IN_CI = {"gluster", "bindfs"}


@pytest.fixture(scope="module")
def mounts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    """Mount the file system that the test's parameter names, twice, for all cases on it."""
    name = str(request.param)
    with ExitStack() as mounted:
        try:
            found = mounted.enter_context(FILE_SYSTEMS[name](tmp_path_factory.mktemp(name)))
        except CannotMount as exc:
            if "CI" in os.environ and name in NEVER_SKIPPED_IN_CI:
                pytest.fail(f"{name} must be tested here: {exc}")
            pytest.skip(f"{name}: {exc}")
        yield found
