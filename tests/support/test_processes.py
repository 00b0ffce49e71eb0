"""The ports of programs that tests start."""

import subprocess
import sys

from tests.support.processes import first_ephemeral_port, free_port
from tests.support.service import ROOT

ASKS = """
import random, sys
from tests.support.processes import free_port
random.randrange = lambda *_: next(ports)
ports = map(int, sys.argv[1:])
print(free_port())
"""
"""The code of a process that looks whether the ports are free that it is told."""


def test_a_port_is_returned_once() -> None:
    """A port that was returned is not returned to another process, though no program listens there yet."""
    port = free_port()
    command = [sys.executable, "-c", ASKS, str(port)]
    asked = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=120)
    assert (asked.stdout, asked.stderr.splitlines()[-1]) == ("", "StopIteration")
    assert port < first_ephemeral_port()
