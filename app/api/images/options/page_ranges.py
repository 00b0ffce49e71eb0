"""The option `pages`: single pages and ranges, such as `1,3,5-`."""

from app.api.http.schema import StringForm
from app.engine.contract.reading_options import PageRange

MAX_RANGES = 100
RANGE = "[1-9][0-9]{0,5}(-([1-9][0-9]{0,5})?)?"
PAGES = StringForm(
    f"^{RANGE}(,{RANGE}){{0,{MAX_RANGES - 1}}}$",
    f"must be pages and ranges of pages with commas between them, at most {MAX_RANGES}, such as 3 or 2-5 or 1,3,5-",
)
"""The form of the option `pages`; a range without an end goes to the last page."""


def ranges_of(pages: str) -> tuple[PageRange, ...]:
    """Return the ranges in a value of the option. Raises ValueError if a range ends before it begins."""
    return tuple(_range_of(each) for each in pages.split(","))


def _range_of(text: str) -> PageRange:
    first, dash, last = text.partition("-")
    found = PageRange(int(first), int(last) if last else None if dash else int(first))
    if found.last is not None and found.first > found.last:
        msg = f"in {text} the first page comes after the last; write the smaller number first, such as 2-5"
        raise ValueError(msg)
    return found
