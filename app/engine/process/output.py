"""The stdout and stderr of an engine process, logged line by line within limits; the last lines are kept."""

import asyncio
from collections import deque
from collections.abc import Callable

OUTPUT_CHUNK_BYTES = 1 << 16
FLOOD_PAUSE_SECONDS = 0.02
"""The pause after each full chunk of output. It limits an engine that floods its output to 3 MB/s, so that the service
can still answer requests."""
MAX_LINE_CHARS = 1000
"""The longest line that is logged; longer lines are cut."""
LINES_PER_SECOND = 50
"""How many lines of output are logged in each second at most; further lines are only counted."""
TAIL_LINES = 10
"""How many of the last lines of output are kept, to explain why the process died."""


class Output:
    """Reads and logs the output of one process until the stream ends."""

    def __init__(self, stream: asyncio.StreamReader, on_line: Callable[[str], None]) -> None:
        self._stream = stream
        self._on_line = on_line
        self._tail: deque[str] = deque(maxlen=TAIL_LINES)
        self._second, self._logged, self._suppressed = 0, 0, 0

    @property
    def tail(self) -> tuple[str, ...]:
        """The last lines of the output, the oldest first."""
        return tuple(self._tail)

    async def read(self) -> None:
        """Read and log the output until the end of the stream, or until cancelled."""
        rest = b""
        try:
            while chunk := await self._stream.read(OUTPUT_CHUNK_BYTES):
                *lines, rest = (rest + chunk).split(b"\n")
                for line in lines:
                    self._add(line)
                if len(rest) > MAX_LINE_CHARS:
                    self._add(rest)
                    rest = b""
                if len(chunk) == OUTPUT_CHUNK_BYTES:
                    await asyncio.sleep(FLOOD_PAUSE_SECONDS)
        finally:
            self._add(rest)
            self._report_suppressed()

    def _add(self, raw: bytes) -> None:
        line = raw[:MAX_LINE_CHARS].decode(errors="replace").rstrip()
        if not line:
            return
        self._tail.append(line)
        loop = asyncio.get_running_loop()
        second = int(loop.time())
        if second != self._second:
            self._second, self._logged = second, 0
        if self._logged < LINES_PER_SECOND:
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
