"""The image, built from its Dockerfile without Docker, and run as deploy/compose.yaml runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SECONDS = 1100


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_image_builds_and_serves_read_only_and_unprivileged() -> None:
    """The image builds and passes the checks of deploy/check_image.py, which lists them."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.fail("this test builds a Debian root and mounts in namespaces: run it as root on Linux")
    with subprocess.Popen(
        [sys.executable, ROOT / "deploy" / "check_image.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as check:
        try:
            output, _ = check.communicate(timeout=SECONDS)
        finally:
            check.terminate()  # it cleans up on SIGTERM; no effect if it has ended
    print(output)
    assert check.returncode == 0, output
