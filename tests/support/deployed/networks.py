"""A network of this machine's kernel that only its members reach: containers, and threads of a test.

Needs root and iproute2.
"""

import ctypes
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from tests.support.waiting import eventually

CLONE_NEWNET = 0x40000000


class Network:
    """A network that only its containers reach, and threads of this process that have entered it."""

    def __init__(self) -> None:
        self._namespaces: list[subprocess.Popen[bytes]] = []
        self._addresses: dict[str, str] = {}

    def __enter__(self) -> Self:
        try:
            self._switch = self._namespace()
            self._run(self._switch, "ip link add switch type bridge && ip link set switch up && ip link set lo up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._namespaces:
            process.kill()
            process.wait()

    def join(self, address: str) -> str:
        """Return the path of the network namespace with an address of a network of 256. The first call makes it."""
        if address not in self._addresses:
            self._addresses[address] = self._joined(address)
        return self._addresses[address]

    def threads(self, address: str) -> ThreadPoolExecutor:
        """Return one thread that sends its requests from an address of the network."""
        return ThreadPoolExecutor(1, initializer=_enter, initargs=(self.join(address),))

    def _joined(self, address: str) -> str:
        pid, number = self._namespace(), len(self._namespaces)
        self._run(
            self._switch,
            f"ip link add port{number} type veth peer name eth0 netns {pid} && "
            f"ip link set port{number} master switch && ip link set port{number} up",
        )
        self._run(pid, f"ip link set lo up && ip address add {address}/24 dev eth0 && ip link set eth0 up")
        return f"/proc/{pid}/ns/net"

    def _namespace(self) -> int:
        process = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        self._namespaces.append(process)
        ours, theirs = Path("/proc/self/ns/net"), Path(f"/proc/{process.pid}/ns/net")
        eventually(lambda: theirs.readlink() != ours.readlink(), within=30)
        return process.pid

    def _run(self, pid: int, script: str) -> None:
        subprocess.run(["nsenter", f"--net=/proc/{pid}/ns/net", "sh", "-euc", script], check=True)


def _enter(namespace: str) -> None:
    with Path(namespace).open() as file:
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.setns(file.fileno(), CLONE_NEWNET):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
