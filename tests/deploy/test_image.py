"""The image, built from its Dockerfile and run as deploy/compose.yaml runs it. There need be no Docker."""

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
    """What is checked in it is listed in deploy/check_image.py."""
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
            check.terminate()  # it cleans up; when it has ended by itself this does nothing
    print(output)
    assert check.returncode == 0, output
