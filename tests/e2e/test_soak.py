"""A short soak with the real engine: mixed work, after which the service uses no more than after the warm-up."""

import contextlib
import os
import signal
import subprocess
import sys

import pytest

from tests.support.service import ROOT

SECONDS = os.environ.get("TEST_SOAK_SECONDS", "60")
"""How long the callers work, in seconds. Besides, the soak waits twice until what they left has expired."""


@pytest.mark.slow
@pytest.mark.skipif(not (ROOT / "native").is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1")
def test_the_service_does_not_grow() -> None:
    """Memory, descriptors, threads and `.store/` are as after the warm-up, and each request is answered as expected."""
    command = [sys.executable, "benchmarks/soak.py"]
    environment = os.environ | {"SOAK_SECONDS": SECONDS}
    soak = subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, process_group=0
    )
    try:
        output, _ = soak.communicate()
    finally:
        with contextlib.suppress(ProcessLookupError):  # the service is in the group too, if the test was interrupted
            os.killpg(soak.pid, signal.SIGKILL)

    print(output)
    assert soak.returncode == 0, output
