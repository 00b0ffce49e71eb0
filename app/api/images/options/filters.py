"""The option `filters`: the vendor's filters with their values, in order, such as `median,scale:2,rotate:-90`."""

import difflib
from collections.abc import Mapping
from dataclasses import dataclass

from app.engine.contract.reading_options import FilterName, ImageFilter

MAX_FILTERS = 10
MAX_SHOWN_CHARS = 100
FORM = (
    f"must be filters with commas between them, at most {MAX_FILTERS}, in the order in which they are applied, such as "
    "median,threshold:128,scale:2,resize:900x300,rotate:-90"
)


@dataclass(frozen=True, slots=True)
class _Values:
    """The values that a filter takes."""

    count: int
    lowest: float
    highest: float
    whole: bool
    example: str


ONCE = (FilterName.ROTATE, FilterName.SCALE, FilterName.RESIZE)
"""The filters that change the size. The vendor applies each of them once, and before the other filters, wherever they
are in the list (measured with 26.10.0)."""
VALUES: Mapping[FilterName, _Values] = {
    FilterName.THRESHOLD: _Values(1, 0, 255, whole=True, example="128"),
    FilterName.SCALE: _Values(1, 0.05, 20, whole=False, example="2"),
    FilterName.RESIZE: _Values(2, 1, 20_000, whole=True, example="900x300"),
    FilterName.ROTATE: _Values(1, -360, 360, whole=False, example="-90"),
}
"""For each filter that takes values, which values it takes."""


def filters_of(text: str) -> tuple[ImageFilter, ...]:
    """Return the filters in a value of the option. Raises ValueError with a sentence that says what is allowed."""
    filters = tuple(_filter_of(each.strip()) for each in text.split(",", MAX_FILTERS))
    if len(filters) > MAX_FILTERS:
        raise ValueError(FORM)
    names = [each.name for each in filters]
    if repeated := next((name for name in ONCE if names.count(name) > 1), None):
        msg = f"the engine applies the filter {repeated} only once; give it once, with the values of both together"
        raise ValueError(msg)
    return filters


def _filter_of(text: str) -> ImageFilter:
    name, colon, given = text.partition(":")
    if name not in set(FilterName):
        close = difflib.get_close_matches(name[:MAX_SHOWN_CHARS], list(FilterName), n=1)
        advice = f"did you mean {str(close[0])!r}?" if close else f"there are: {', '.join(FilterName)}"
        msg = f"there is no filter {name[:MAX_SHOWN_CHARS]!r}; {advice}"
        raise ValueError(msg)
    known = VALUES.get(FilterName(name))
    if known is None:
        if colon:
            msg = f"the filter {name} takes no value; write {name}"
            raise ValueError(msg)
        return ImageFilter(FilterName(name))
    return ImageFilter(FilterName(name), _values_of(name, given, known))


def _values_of(name: str, given: str, known: _Values) -> tuple[float, ...]:
    try:
        values = tuple(float(each) for each in given[:MAX_SHOWN_CHARS].split("x"))
    except ValueError:
        values = ()
    is_right = len(values) == known.count and all(
        known.lowest <= value <= known.highest and not (known.whole and value % 1) for value in values
    )
    if not is_right:
        what = "two numbers" if known.count == 2 else "a number"  # noqa: PLR2004 - words for a count
        whole = what.replace("number", "whole number") if known.whole else what
        bounds = f"from {known.lowest:g} to {known.highest:g}"
        msg = f"the filter {name} takes {whole} {bounds}, such as {name}:{known.example}"
        raise ValueError(msg)
    return values
