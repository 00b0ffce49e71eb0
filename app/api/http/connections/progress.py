"""Measures whether bytes move on a connection.

A caller that sends or takes only a few bytes a minute would keep a file descriptor in use.
"""

import socket
import struct

WINDOW_SECONDS = 30.0
LEAST_BYTES_A_SECOND = 1024
"""How many bytes a second must move, on average over each window."""
TCP_INFO_BYTES = 128
ACKNOWLEDGED = struct.Struct("=Q")
ACKNOWLEDGED_OFFSET = 120
"""The offset of `tcpi_bytes_acked`, in bytes, in Linux's `struct tcp_info`."""


class Progress:
    """Tells whether a count of bytes grows by at least LEAST_BYTES_A_SECOND, averaged over each window."""

    def __init__(self, now: float, count: int, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._began = now
        self._count = count

    def is_stalled(self, now: float, count: int) -> bool:
        """Return True if a window of time has just ended in which the count of bytes grew too little.

        `now` is a time in seconds, always by the same clock.
        """
        if now - self._began < self._window_seconds:
            return False
        is_stalled = count - self._count < self._window_seconds * LEAST_BYTES_A_SECOND
        self._began, self._count = now, count
        return is_stalled


def acknowledged_bytes(connection: socket.socket) -> int:
    """Return how many bytes the caller's machine has acknowledged, as the kernel counts them. Raises OSError."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    return int(ACKNOWLEDGED.unpack_from(info, ACKNOWLEDGED_OFFSET)[0])
