"""The client that openapi-python-client generates."""

from pathlib import Path

import pytest

from tests.clients.conftest import KEY
from tests.clients.matrix import ticked
from tests.clients.toolchain import Toolchain
from tests.support.service import RunningService

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def test_every_task(toolchain: Toolchain, shared_service: RunningService, tmp_path: Path) -> None:
    """The generated client and a program that uses it have correct types; the program does every task."""
    toolchain.generate("openapi-python-client", shared_service.url, tmp_path)
    done = toolchain.run_python("openapi_python_client.py", tmp_path, shared_service.url, KEY)
    assert done == ticked("openapi-python-client")
