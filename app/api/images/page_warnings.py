"""Warnings about pages: in each page of a JSON answer, and in a header, since other formats cannot hold them."""

from collections.abc import Iterable
from itertools import accumulate
from typing import Any

from app.api.http.schema import InlineEnum, Schema
from app.engine.contract.page_warnings import PageWarningCode

PAGE_WARNINGS = "x-page-warnings"
"""The header that lists the codes of the warnings of all pages."""
PAGE_WARNINGS_DESCRIPTION: dict[str, Any] = {
    "description": "The warnings of all pages, such as `image-cut-short;page=1`, separated by commas. If there are too "
    "many, the last item is `more;count=` with the number of those that are left out. Without warnings the header is "
    "missing.",
    "schema": {"type": "string"},
}

SEPARATOR = ", "
MAX_HEADER_CHARS = 3000
"""How long the header may be: proxies refuse answers whose headers have more than 4 to 8 kB in total."""


class PageWarningOut(Schema):
    """What was cut, lost or doubtful on a page that was read."""

    code: InlineEnum[PageWarningCode]
    """What the warning is about."""
    detail: str
    """One sentence for people."""


def warnings_header(pages: Iterable[tuple[int, list[PageWarningOut]]]) -> dict[str, str]:
    """Return the header for pages, each given by its number and its warnings; nothing if there are no warnings.

    The value is a list of tokens with parameters (RFC 9651).
    """
    listed = [f"{warning.code.value};page={number}" for number, warnings in pages for warning in warnings]
    lengths = accumulate(len(item) + len(SEPARATOR) for item in listed)
    kept = [item for item, length in zip(listed, lengths, strict=True) if length <= MAX_HEADER_CHARS]
    more = [f"more;count={len(listed) - len(kept)}"] if len(kept) < len(listed) else []
    return {PAGE_WARNINGS: SEPARATOR.join(kept + more)} if listed else {}
