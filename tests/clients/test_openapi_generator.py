"""The clients that openapi-generator generates for Python and for TypeScript."""

import shutil
from pathlib import Path

import pytest

from tests.clients.conftest import KEY
from tests.clients.matrix import ticked
from tests.clients.toolchain import Toolchain
from tests.support.service import RunningService

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(shutil.which("java") is None, reason="openapi-generator needs Java"),
]


def test_every_task_in_python(toolchain: Toolchain, shared_service: RunningService, tmp_path: Path) -> None:
    """The generated client and a program that uses it have correct types; the program does every task."""
    toolchain.generate("openapi-generator, Python", shared_service.url, tmp_path)
    done = toolchain.run_python("openapi_generator.py", tmp_path, shared_service.url, KEY)
    assert done == ticked("openapi-generator, Python")


def test_every_task_in_typescript(toolchain: Toolchain, shared_service: RunningService, tmp_path: Path) -> None:
    """The generated client and a program that uses it have correct types; the program does every task."""
    toolchain.generate("openapi-generator, TypeScript", shared_service.url, tmp_path)
    done = toolchain.run_typescript("typescript_fetch.ts", tmp_path, shared_service.url, KEY)
    assert done == ticked("openapi-generator, TypeScript")
