"""Whether bytes move on a connection: a caller that sends or reads a few bytes a minute keeps its descriptor."""

import socket
import struct

WINDOW_SECONDS = 30.0
LEAST_BYTES = 30 * 1024
"""How many bytes must move in each window: 1 KiB a second."""
TCP_INFO_BYTES = 128
ACKNOWLEDGED = struct.Struct("=Q")
ACKNOWLEDGED_OFFSET = 120
"""Where `tcpi_bytes_acked` is in Linux's `struct tcp_info`."""


class Progress:
    """Whether a count of bytes grows fast enough."""

    def __init__(self, now: float, count: int) -> None:
        self._began = now
        self._count = count

    def is_stalled(self, now: float, count: int) -> bool:
        """Return True if the count grew by less than LEAST_BYTES in a window that has just ended."""
        if now - self._began < WINDOW_SECONDS:
            return False
        is_stalled = count - self._count < LEAST_BYTES
        self._began, self._count = now, count
        return is_stalled


def acknowledged_bytes(connection: socket.socket) -> int:
    """Return how many bytes the caller's machine has received, which the kernel knows. Raises OSError."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, TCP_INFO_BYTES)
    return int(ACKNOWLEDGED.unpack_from(info, ACKNOWLEDGED_OFFSET)[0])
