"""Marks the routes whose function reads the body as a stream.

Bodies for all other routes are bounded and kept in memory.
"""

from collections.abc import Callable
from typing import Any, TypeVar

Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])
STREAMS_BODY = "streams_body"


def streams_body(endpoint: Endpoint) -> Endpoint:
    """Mark and return a route's function that reads the body as a stream and itself limits the body's size.

    `RequestLimits` bounds the body of every other route by OCR_MAX_BODY_BYTES.
    """
    setattr(endpoint, STREAMS_BODY, True)
    return endpoint


def is_body_streamed(endpoint: object) -> bool:
    """True if the function is marked by `streams_body`."""
    return getattr(endpoint, STREAMS_BODY, False)
