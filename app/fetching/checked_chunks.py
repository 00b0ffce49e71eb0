"""Checks the bytes of an answer while they arrive: their number, and the rate at which the source sends them."""

import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass

from app.errors import SourceMismatch, SourceUnavailable


@dataclass(frozen=True, slots=True)
class LeastRate:
    """How slowly a source may send."""

    bytes_per_second: int
    """0 for any rate."""
    seconds: float
    """The time over which the rate is averaged."""


async def checked_chunks(
    chunks: AsyncIterator[bytes],
    label: str,
    least_rate: LeastRate,
    check_size: Callable[[int], None],
    *,
    expected_bytes: int | None,
    received_bytes: int = 0,
) -> AsyncIterator[bytes]:
    """Yield the chunks of an answer.

    `check_size` gets the number of bytes after each chunk, and raises if there are too many. `expected_bytes` is the
    size of the whole file, or None; `received_bytes` says how many bytes of the file earlier answers had. `label` is
    the URL for messages.

    Raises SourceMismatch for more bytes than expected, SourceUnavailable for fewer or for too low a rate. The rate
    counts only the time in which this service waits for the source, not the time that its own disk takes.
    """
    recent_bytes, waited_seconds = 0, 0.0
    asked_at = time.monotonic()
    async for chunk in chunks:
        waited_seconds += time.monotonic() - asked_at
        recent_bytes += len(chunk)
        if least_rate.bytes_per_second and waited_seconds >= least_rate.seconds:
            if recent_bytes < least_rate.bytes_per_second * waited_seconds:
                reason = f"the source sent only {recent_bytes:,} bytes in {waited_seconds:.0f} seconds"
                raise SourceUnavailable(label, f"{reason}, which is below OCR_PULL_MIN_RATE")
            recent_bytes, waited_seconds = 0, 0.0
        received_bytes += len(chunk)
        if expected_bytes is not None and received_bytes > expected_bytes:
            raise SourceMismatch(label, f"the source sent more than the expected {expected_bytes:,} bytes")
        check_size(received_bytes)
        yield chunk
        asked_at = time.monotonic()
    if expected_bytes is not None and received_bytes < expected_bytes:
        raise SourceUnavailable(label, f"the download ended after {received_bytes:,} of {expected_bytes:,} bytes")
