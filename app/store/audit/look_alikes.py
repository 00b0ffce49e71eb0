"""Finds models whose names look the same: one letter can be written in several ways, and some characters are invisible.

Such names are different files to the kernel and to this service. For example, macOS writes `é` as two characters.
"""

import unicodedata
from collections.abc import Iterable


def look_alikes(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Return, by each name that looks the same as other names, those other names."""
    by_look: dict[str, list[str]] = {}
    for name in names:
        by_look.setdefault(name if name.isascii() else _look_of(name), []).append(name)
    return {
        name: tuple(other for other in alike if other != name)
        for alike in by_look.values()
        if len(alike) > 1
        for name in alike
    }


def _look_of(name: str) -> str:
    """Return a name in the composed form of Unicode (NFC), without invisible characters.

    Two names with the same result look the same.
    """
    return "".join(each for each in unicodedata.normalize("NFC", name) if unicodedata.category(each) != "Cf")
