"""Bounds the size, the compression and the time of the answers that huggingface_hub reads whole into memory."""

import time
from collections.abc import Iterator

import httpx
from huggingface_hub import get_session

MAX_ANSWER_BYTES = 32 << 20
"""The largest answer, in bytes. The list of a repository of 10,000 files has about 3 MB."""
MAX_ANSWER_SECONDS = 60.0


def bound_answers() -> None:
    """Bound the answers of huggingface_hub's present HTTP client.

    Call this before each request: huggingface_hub replaces its client after an error of the connection.
    """
    client = get_session()
    hooks = client.event_hooks
    if _bound not in hooks["response"]:
        client.headers["accept-encoding"] = "identity"  # a small compressed answer can fill the memory
        client.event_hooks = {**hooks, "response": [*hooks["response"], _bound]}


def _bound(response: httpx.Response) -> None:
    """Replace the response's stream by one with bounds. httpx calls this before it reads the body."""
    if response.headers.get("content-encoding", "identity") != "identity":
        raise ValueError("the answer is encoded although that was not accepted")
    if isinstance(response.stream, httpx.SyncByteStream):
        response.stream = _BoundedStream(response.stream)


class _BoundedStream(httpx.SyncByteStream):
    """A stream that raises ValueError beyond its maximum size, and ReadTimeout beyond its maximum time."""

    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        received_bytes, began_at = 0, time.monotonic()
        for chunk in self._stream:
            received_bytes += len(chunk)
            if received_bytes > MAX_ANSWER_BYTES:
                raise ValueError(f"the answer has more than {MAX_ANSWER_BYTES:,} bytes")
            if time.monotonic() - began_at > MAX_ANSWER_SECONDS:
                raise httpx.ReadTimeout(f"the answer took more than {MAX_ANSWER_SECONDS:g} seconds")
            yield chunk

    def close(self) -> None:
        """Close the connection."""
        self._stream.close()
