"""Tables for people: aligned columns, sizes such as 1.9 GB, times to the second."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from app.terminal import visible

UNITS = ("B", "kB", "MB", "GB", "TB")
THOUSAND = 1000
LARGEST = 10**30
BYTES = "_bytes"
"""The end of the names of members that hold sizes in bytes."""
TIMES = ("at", "since")
"""The last words of the names of members that hold times in RFC 3339."""


def size(count: int) -> str:
    """Return a number of bytes as text for people, in powers of a thousand: `1.9 GB`, `24 B`."""
    # A server could send a number that no float can be.
    value, unit = float(min(count, LARGEST)), 0
    # 999,950 would be shown as 1000.0 kB, so it is 1.0 MB already.
    while round(value, 1) >= THOUSAND and unit < len(UNITS) - 1:
        value, unit = value / THOUSAND, unit + 1
    return f"{value:.1f} {UNITS[unit]}" if unit else f"{count} B"


def table(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> Iterator[str]:
    """Yield the lines of a table, the first with the names of the columns. Sizes are aligned to the right."""
    cells = [[heading(column) for column in columns]]
    cells += [[cell(column, row.get(column)) for column in columns] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for line in cells:
        padded = (
            text.rjust(width) if column.endswith(BYTES) else text.ljust(width)
            for column, text, width in zip(columns, line, widths, strict=True)
        )
        yield "  ".join(padded).rstrip()


def facts(members: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each member of an object, and one for each member of the objects in it, named `outer.inner`."""
    flat = dict(_flat(members))
    width = max(map(len, map(heading, flat)), default=0)
    for name, value in flat.items():
        yield f"{heading(name):<{width}}  {cell(name, value)}".rstrip()


def heading(name: str) -> str:
    """Return the heading of a column: its name, without the unit that the cells have."""
    return visible(name.removesuffix(BYTES))


def cell(name: str, value: object) -> str:
    """Return the text of a value, which is of the member `name`."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(cell("", each) for each in value) or "-"
    if isinstance(value, Mapping):
        return ", ".join(f"{visible(str(key))} {cell(key, each)}" for key, each in value.items())
    if name.endswith(BYTES) and isinstance(value, int):
        return size(value)
    text = "-" if value is None else str(value)
    return visible(_to_the_second(text) if name.rpartition("_")[2] in TIMES else text)


def _to_the_second(moment: str) -> str:
    """Return a time in RFC 3339 without the fraction of the second."""
    whole, dot, _ = moment.partition(".")
    return whole + "Z" if dot else moment


def _flat(members: Mapping[str, Any], before: str = "") -> Iterable[tuple[str, Any]]:
    for name, value in members.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{before}{name}.")
        else:
            yield f"{before}{name}", value
