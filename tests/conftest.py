"""What every test may ask for. Everything lives in the test's own temporary folder; nothing global is to be reset."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.service import RunningService

Serve = Callable[..., RunningService]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    """Start real services, each `python -m app serve` with the settings given as keyword arguments, on one folder."""
    with ExitStack() as running:
        yield lambda **settings: running.enter_context(RunningService(tmp_path, **settings))


@pytest.fixture
def anyio_backend() -> tuple[str, dict[str, bool]]:
    """Async tests run on the loop that the service runs on."""
    return "asyncio", {"use_uvloop": True}
