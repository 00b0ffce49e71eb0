"""A file system that is mounted twice for the tests of a module."""

from collections.abc import Iterator
from contextlib import ExitStack

import pytest

from tests.support.skips import ELSEWHERE
from tests.volumes.mounting import FILE_SYSTEMS, CannotMount, Mounts

INSTALLED_IN_CI = {"local", "gluster", "bindfs"}


@pytest.fixture(scope="module")
def mounts(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mounts]:
    """Mount the file system that the test's parameter names, twice, for all cases on it."""
    name = str(request.param)
    with ExitStack() as mounted:
        try:
            found = mounted.enter_context(FILE_SYSTEMS[name](tmp_path_factory.mktemp(name)))
        except CannotMount as exc:
            pytest.skip(f"{'' if name in INSTALLED_IN_CI else ELSEWHERE}{name}: {exc}")
        yield found
