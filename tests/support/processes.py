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
_reserved = list[socket.socket]()


def free_port() -> int:
    """Return a free TCP port of loopback, for a program that cannot choose one itself, or that ends and comes back.

    No other call returns the port as long as this process lives, on the whole machine, and the kernel gives it neither
    to connections nor to servers that ask for any port. So no other program answers there, also while this one is down.
    """
    while True:
        port = random.randrange(FIRST_PORT, first_ephemeral_port())  # noqa: S311 - no secret
        with contextlib.suppress(OSError), socket.create_server(("127.0.0.1", port)):
            _reserved.append(_reservation_of(port))
            return port


def first_ephemeral_port() -> int:
    """Return the lowest port that the kernel gives to connections, and to servers that ask for any port."""
    return int(EPHEMERAL_PORTS.read_text().split()[0])


def _reservation_of(port: int) -> socket.socket:
    """Reserve a port for this process, by a name that the kernel frees when the process ends. Raises OSError."""
    reservation = socket.socket(socket.AF_UNIX)
    try:
        reservation.bind(f"\0ocr-model-service-test-port-{port}")
    except OSError:
        reservation.close()
        raise
    return reservation


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
