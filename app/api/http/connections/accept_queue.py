"""Waits until the event loop has accepted every connection that the kernel has already established.

The kernel completes a connection before the service accepts it, so a caller may have sent a request on it. If the
listening socket is closed meanwhile, the kernel resets the connection.
"""

import asyncio
import contextlib
import os
import socket
import struct
from collections.abc import Iterable
from typing import Protocol

MAX_TURNS = 1000
"""How often the event loop may run for one socket. Under constant load there may never be a moment without a queue."""
UNACKED_OFFSET = 24
"""Where `struct tcp_info` has `tcpi_unacked`: for a listening socket, how many connections wait to be accepted."""
TCP_INFO_BYTES = 104


class HasDescriptor(Protocol):
    """A socket, or uvloop's stand-in for one."""

    def fileno(self) -> int:
        """Return the descriptor."""


async def accept_all(sockets: Iterable[HasDescriptor]) -> None:
    """Let the event loop run until no connection waits at any of these listening sockets."""
    for each in sockets:
        for _ in range(MAX_TURNS):
            if not waiting_at(each.fileno()):
                break
            await asyncio.sleep(0)


def waiting_at(descriptor: int) -> int:
    """Return how many connections wait to be accepted; 0 if the system does not tell."""
    with contextlib.suppress(OSError, AttributeError), socket.socket(fileno=os.dup(descriptor)) as copy:
        info = copy.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
        return int(struct.unpack_from("I", info, UNACKED_OFFSET)[0])
    return 0
