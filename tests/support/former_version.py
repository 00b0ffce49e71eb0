"""The former version of the service, from the history of the repository, run with the packages of this one."""

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import ECHO, ROOT, RunningService
from tests.support.skips import ELSEWHERE

FORMER = "47075c8974c3eb2d2ae61772272426cba19933d1"
"""The commit of the former version."""


def unpack_former(folder: Path) -> Path:
    """Unpack the former version below a folder and return its root. Skip the test if the history is not here."""
    packed = subprocess.run(["git", "-C", ROOT, "archive", FORMER], capture_output=True, check=False)
    if packed.returncode:
        pytest.skip(f"{ELSEWHERE}the history of the repository is not here")
    root = folder / "former"
    root.mkdir()
    subprocess.run(["tar", "-x", "-C", root], input=packed.stdout, check=True)
    return root


def service_of(version: Path, folder: Path, **settings: Any) -> RunningService:
    """Return a service of a version on the folder. It is started as a program of its own."""
    return RunningService(folder, wrapper=("env", "-C", str(version)), engine_class=ECHO, **settings)
