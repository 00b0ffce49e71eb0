"""Whether bytes move on a connection: a caller that sends or reads a few bytes a minute keeps its descriptor."""

import socket
import struct

WINDOW_SECONDS = 30.0
LEAST_BYTES_A_SECOND = 1024
"""How many bytes must move, on average over each window."""
TCP_INFO_BYTES = 128
ACKNOWLEDGED = struct.Struct("=Q")
ACKNOWLEDGED_OFFSET = 120
"""Where `tcpi_bytes_acked` is in Linux's `struct tcp_info`."""


class Progress:
    """Whether a count of bytes grows fast enough."""

    def __init__(self, now: float, count: int, window_seconds: float) -> None:
        self._window_seconds = window_seconds
        self._began = now
        self._count = count

    def is_stalled(self, now: float, count: int) -> bool:
        """Return True if the count grew too little in a window that has just ended."""
        if now - self._began < self._window_seconds:
            return False
        is_stalled = count - self._count < self._window_seconds * LEAST_BYTES_A_SECOND
        self._began, self._count = now, count
        return is_stalled


def acknowledged_bytes(connection: socket.socket) -> int:
    """Return how many bytes the caller's machine has received, which the kernel knows. Raises OSError."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    return int(ACKNOWLEDGED.unpack_from(info, ACKNOWLEDGED_OFFSET)[0])
