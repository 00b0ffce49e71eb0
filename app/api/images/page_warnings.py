"""Warnings about pages: in each page of a JSON answer, and in a header, since other formats cannot hold them."""

from collections.abc import Iterable
from typing import Any

from app.api.http.schema import InlineEnum, Schema
from app.engine.contract.page_warnings import PageWarningCode

PAGE_WARNINGS = "x-page-warnings"
"""The header that lists the codes of the warnings of all pages."""
PAGE_WARNINGS_DESCRIPTION: dict[str, Any] = {
    "description": "The warnings of all pages, such as `image-cut-short;page=1`, separated by commas. Without warnings "
    "the header is missing.",
    "schema": {"type": "string"},
}


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
    return {PAGE_WARNINGS: ", ".join(listed)} if listed else {}
