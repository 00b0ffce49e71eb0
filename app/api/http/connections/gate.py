"""Bounds the number of connections, so that callers cannot take the file descriptors that the service needs itself."""

import resource
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

SURPLUS = 32
"""How many connections may be open beyond the limit, so that probes and refusals are answered even then."""
SHARE_OF_DESCRIPTORS = 2
"""At most 1/SHARE_OF_DESCRIPTORS of the file descriptors are connections; files, locks and the engine need the rest."""
UNLIMITED = 1 << 20
REPORT_SECONDS = 60.0
"""The least time between two reports that the limit is reached."""


class Evictable(Protocol):
    """A connection that the gate may close while it has no running request."""

    def evict(self) -> None:
        """Close the connection at once."""


class ConnectionGate:
    """Counts connections. Beyond the limit plus SURPLUS, each new connection replaces the one that is idle longest.

    A connection is idle while it has no running request: before the end of a request's head, and after the answer. If
    more requests run than the limit, the newest are answered 503, except probes. The arrival of a request never closes
    an idle connection: a probe may be about to arrive on that connection.
    """

    def __init__(self, most: int, on_full: Callable[[int], None]) -> None:
        """`most` is the limit. `on_full` is called with `most` when the limit is reached, once a minute at most."""
        self._most = most
        self._on_full = on_full
        self._reported_at = -REPORT_SECONDS
        self._open: set[Evictable] = set()
        self._idle: OrderedDict[Evictable, None] = OrderedDict()
        """The idle connections; the one that has been idle longest comes first."""

    def admit(self, connection: Evictable) -> None:
        """Count a new connection, which is idle.

        Beyond the limit plus SURPLUS, close the connection that has been idle longest, which may be the new one.
        """
        self._open.add(connection)
        self._idle[connection] = None
        if len(self._open) > self._most + SURPLUS:
            self._report()
            oldest, _ = self._idle.popitem(last=False)
            self._open.discard(oldest)
            oldest.evict()

    def begin_request(self, connection: Evictable) -> bool:
        """Note that a request begins. Return False if more requests run than the limit."""
        self._idle.pop(connection, None)
        if len(self._open) - len(self._idle) <= self._most:
            return True
        self._report()
        return False

    def end_request(self, connection: Evictable) -> None:
        """Note that a connection has answered its last request."""
        if connection in self._open:
            self._idle[connection] = None

    def forget(self, connection: Evictable) -> None:
        """Remove a connection that is closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def _report(self) -> None:
        now = time.monotonic()
        if now - self._reported_at >= REPORT_SECONDS:
            self._reported_at = now
            self._on_full(self._most)


def connections_within(most: int) -> int:
    """Raise this process's limit of file descriptors to the hard limit.

    Return how many connections fit, at most `most`. Many shells and service managers start programs with a limit of
    1024 descriptors, for programs that use `select`.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    except (ValueError, OSError):  # the hard limit is above the kernel's maximum
        pass
    descriptors = UNLIMITED if soft == resource.RLIM_INFINITY else soft
    return max(1, min(most, descriptors // SHARE_OF_DESCRIPTORS - SURPLUS))
