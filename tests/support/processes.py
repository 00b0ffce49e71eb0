"""Other Python processes that a test starts and kills."""

import contextlib
import random
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.service import ROOT

FIRST_PORT = 10_000
EPHEMERAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


def free_port() -> int:
    """Return a free TCP port of loopback, for a program that cannot choose one itself.

    The port is below those that the kernel gives to connections and to servers that ask for any port. So until the
    program has taken the port, nothing else gets it by chance.
    """
    lowest = int(EPHEMERAL_PORTS.read_text().split()[0])
    while True:
        port = random.randrange(FIRST_PORT, lowest)  # noqa: S311 - no secret
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


def runs(process: psutil.Process) -> bool:
    """Return True if a process runs: it is neither gone nor a zombie, which uses no memory and no files."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def resident_bytes(pid: int) -> int:
    """Return the resident memory of one process, without its children."""
    return int(psutil.Process(pid).memory_info().rss)


@contextmanager
def python(code: str, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Run Python code in another process; wait for its first line of output; kill it at the end of the block."""
    command = [sys.executable, "-c", code, *map(str, arguments)]
    process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        assert process.stdout.readline()
        yield process
    finally:
        process.kill()
        process.communicate()
