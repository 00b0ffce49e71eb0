"""`Range` and `If-Range` (RFC 9110, section 14): which part of a model's bytes a request asks for."""

import re
from dataclasses import dataclass

from fastapi import Request

from app.api.http.request_errors import RangeNotSatisfiable

SINGLE = re.compile(r"bytes=[ \t]*([0-9]*)[ \t]*-[ \t]*([0-9]*)[ \t]*", re.ASCII | re.IGNORECASE)
"""Matches a request for one range of bytes."""
MAX_DIGITS = 19
"""A number with more digits is larger than any file's size."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """A part of a file: the bytes from `start` to `end`, without the byte at `end`."""

    start: int
    end: int

    def describe(self, size_bytes: int) -> str:
        """Return the value of `Content-Range`."""
        return f"bytes {self.start}-{self.end - 1}/{size_bytes}"


def requested_range(request: Request, size_bytes: int, etag: str) -> ByteRange | None:
    """Return the range that a GET request asks for; None if it gets the whole file. Raises RangeNotSatisfiable.

    As RFC 9110 allows or requires, these get the whole file: several ranges, other units than bytes, malformed ranges,
    and an `If-Range` that is not the strong ETag of this version. A date is no strong validator.
    """
    values = request.headers.getlist("range")
    if request.method != "GET" or len(values) != 1 or (match := SINGLE.fullmatch(values[0].strip())) is None:
        return None
    first, last = match[1], match[2]
    if request.headers.get("if-range", etag).strip() != etag or not (first or last):
        return None
    if not first:  # the last bytes of the file
        start, end = max(0, size_bytes - _number(last)), size_bytes
    else:
        start, end = _number(first), min(_number(last) + 1, size_bytes) if last else size_bytes
        if last and _number(last) < start:
            return None
    if start >= size_bytes:
        raise RangeNotSatisfiable(size_bytes)
    return ByteRange(start, end)


def _number(digits: str) -> int:
    """Return a number of bytes, at most 10**MAX_DIGITS. Python refuses to convert thousands of digits."""
    significant = digits.lstrip("0")
    return int(significant or "0") if len(significant) <= MAX_DIGITS else 10**MAX_DIGITS
