"""The engine process's stdout and stderr: logged line by line, bounded, the last of it kept to explain a death."""

import asyncio
from collections import deque
from collections.abc import Callable

CHUNK_BYTES = 1 << 16
PAUSE_SECONDS = 0.02
"""Between chunks: a flooding engine waits on its full pipe at 3 MB/s instead of filling the service's time."""
MAX_LINE_CHARS = 1000
LINES_A_SECOND = 50
TAIL_LINES = 10


class Output:
    """Reads one process's output to its end."""

    def __init__(self, stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
        self._stream = stream
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._second, self._logged, self._suppressed = 0, 0, 0

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines, oldest first."""
        return tuple(self._tail)

    async def read(self) -> None:
        """Read until the end of the stream, or until cancelled."""
        rest = b""
        try:
            while chunk := await self._stream.read(CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._take(line)
                if len(rest) > MAX_LINE_CHARS:
                    self._take(rest)
                    rest = b""
                if len(chunk) == CHUNK_BYTES:
                    await asyncio.sleep(PAUSE_SECONDS)
        finally:
            self._take(rest)
            self._report_suppressed()

    def _take(self, raw: bytes) -> None:
        line = raw[:MAX_LINE_CHARS].decode(errors="replace").rstrip()
        if not line:
            return
        self._tail.append(line)
        loop = asyncio.get_running_loop()
        second = int(loop.time())
        if second != self._second:
            self._second, self._logged = second, 0
        if self._logged < LINES_A_SECOND:
            self._logged += 1
            self._on_line(line)
        else:
            if not self._suppressed:
                loop.call_later(1.0, self._report_suppressed)
            self._suppressed += 1

    def _report_suppressed(self) -> None:
        if self._suppressed:
            self._on_line(f"... {self._suppressed} more lines were not logged")
            self._suppressed = 0
