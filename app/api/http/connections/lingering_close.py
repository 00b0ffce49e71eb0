"""Closes a connection on which bytes may be unread, so that the caller gets the answer.

If bytes are unread when a connection is closed, or arrive later, the kernel sends a reset. A client or a proxy that
sees the reset while it sends a body reports a broken connection instead of the answer.
"""

import asyncio
import contextlib

from uvicorn.protocols.http.flow_control import FlowControl

SILENT_SECONDS = 5.0
"""How long the caller may send nothing before the connection is closed."""
MOST_SECONDS = 30.0
"""How long bytes are read and dropped at most."""


class LingeringClose:
    """The transport of a connection as uvicorn uses it for answers. It is closed in two steps if bytes may be unread.

    First the sending side is closed, after everything that was written. Then received bytes are dropped until the
    caller closes its side, sends nothing for SILENT_SECONDS, or MOST_SECONDS have passed.
    """

    def __init__(self, transport: asyncio.Transport, flow: FlowControl, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._flow = flow
        self._loop = loop
        self.write = transport.write
        self.is_closing = transport.is_closing
        self.is_between = True
        """True between two requests: the last byte of one has arrived, and the first byte of the next has not."""
        self._dropped_bytes = 0
        self._ends_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def has_begun(self) -> bool:
        """Whether the connection is being closed, so that received bytes are dropped."""
        return self._timer is not None

    def close(self) -> None:
        """Close the connection after an answer; at once if all received bytes were read."""
        if self.is_between and not self._flow.read_paused:
            self._transport.close()
        else:
            self.begin()

    def begin(self) -> None:
        """Close the sending side. Only the first call has an effect."""
        if self.has_begun or self._transport.is_closing():
            return
        with contextlib.suppress(OSError, NotImplementedError, RuntimeError):
            self._transport.write_eof()
        self._ends_at = self._loop.time() + MOST_SECONDS
        self._flow.resume_reading()
        self._wait()

    def drop(self, received: bytes) -> None:
        """Note that the caller still sends."""
        self._dropped_bytes += len(received)

    def forget(self) -> None:
        """Stop the timer of a connection that is closed."""
        if self._timer is not None:
            self._timer.cancel()

    def _wait(self) -> None:
        self._timer = self._loop.call_later(SILENT_SECONDS, self._end_if_silent, self._dropped_bytes)

    def _end_if_silent(self, dropped_before: int) -> None:
        """Abort the connection if nothing was received in the last SILENT_SECONDS, or after MOST_SECONDS."""
        if self._transport.get_write_buffer_size():  # HttpConnection ends callers that take the answer too slowly
            self._wait()
        elif self._dropped_bytes == dropped_before or self._loop.time() > self._ends_at:
            self._transport.abort()
        else:
            self._wait()
