"""The recognised text as Markdown (CommonMark, with tables of GitHub Flavored Markdown)."""

import re
from collections.abc import Sequence
from itertools import zip_longest

from app.engine.child.documents.pages import Page
from app.engine.contract.document_formats import MARKDOWN_PAGE_BREAK

MARKS = re.compile(r"[\\`*_\[\]<>&|~$]")
"""Matches the characters that have a meaning in Markdown wherever they are in a line."""
LEADING = re.compile(r"^([#+=-]|\d{1,9}(?=[.)]))")
"""Matches characters that would begin a heading, a list, a rule or a fence at the start of a line."""


def markdown_of(pages: Sequence[Page]) -> str:
    """Return the pages as Markdown, with a rule between two pages. Each line of a page becomes one line."""
    return MARKDOWN_PAGE_BREAK.join(map(_content, pages)) + "\n"


def _content(page: Page) -> str:
    if page.rows is not None:
        return _table(page.rows)
    # Two spaces or a backslash at the end of a line are a line break.
    return "\n\n".join("\\\n".join(escaped(line.text) for line in lines) for lines in page.paragraphs())


def escaped(line: str) -> str:
    """Return a line with escapes, so that Markdown shows its characters unchanged."""
    marked = MARKS.sub(r"\\\g<0>", line.strip())
    found = LEADING.match(marked)
    if found and found[1].isdigit():
        return f"{found[1]}\\{marked[found.end() :]}"
    return f"\\{marked}" if found else marked


def _table(rows: Sequence[Sequence[str]]) -> str:
    """Return a table whose first row is its head, since a table of Markdown must have one."""
    width = max(map(len, rows), default=0)
    if not width:
        return ""
    filled = [[escaped(cell) for cell, _ in zip_longest(row, range(width), fillvalue="")] for row in rows]
    lines = [f"| {' | '.join(map(str, row))} |" for row in filled]
    return "\n".join([lines[0], "|" + " --- |" * width, *lines[1:]])
