"""One running service for a module's tests, with an engine that behaves; each test has models of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import ECHO, RunningService


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service without keys, its engine ready."""
    with RunningService(tmp_path_factory.mktemp("service"), engine_class=ECHO, protected="keep_*") as running:
        yield running.wait_until_ready()


@pytest.fixture
def models(service: RunningService) -> Path:
    """Its model folder, emptied."""
    for path in sorted(service.models_dir.rglob("*"), reverse=True):
        if ".store" not in path.parts:
            path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
    return service.models_dir
