"""Finds which models have a newer version in the same folder, and whether that makes them superseded.

A higher number alone proves nothing, because two versions may serve two purposes. So a higher number is only a hint.
For OCR models the vendor's package itself says which versions it needs. For example, both `aspose-ocr-cyrillic-v1.ocr`
(Russian) and `aspose-ocr-cyrillic-v2.ocr` (mixed Cyrillic and English) are needed. But the package asks only for
`aspose-ocr-hindi-v2.ocr`, so `aspose-ocr-hindi-v1.ocr` is superseded once the newer version is there.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass

VERSIONED_NAME = re.compile(r"(?P<before>.*[._-])v(?P<version>\d+(?:\.\d+)*)(?P<after>(?:[._-].*)?)", re.IGNORECASE)
"""Splits a name at its last piece that looks like a version, such as `_v1` or `-v2.1`."""
OCR_SUFFIX = ".ocr"


@dataclass(frozen=True, slots=True)
class Newer:
    """A newer version of a model, in the same folder."""

    name: str
    is_certain: bool
    """True if the vendor's package needs the newer version and not this model; False if only the number is higher."""


def newer_versions(names: Iterable[str], needed: frozenset[str] | None) -> dict[str, Newer]:
    """Return the newest version of each model that has newer versions, by the model's name.

    Versions are compared number by number.

    `needed` has the file names of the OCR models that the vendor's package asks for; None if they are not known. For an
    OCR model, a version counts as newer only if the package needs that version and not the model.
    """
    versions: dict[tuple[str, str], list[tuple[tuple[int, ...], str]]] = {}
    for name in names:
        if match := VERSIONED_NAME.fullmatch(name):
            version = tuple(int(number) for number in match["version"].split("."))
            versions.setdefault((match["before"], match["after"]), []).append((version, name))
    newer: dict[str, Newer] = {}
    for (_, after), known in versions.items():
        is_vendors = after.lower() == OCR_SUFFIX
        candidates = [each for each in known if not is_vendors or is_needed(each[1], needed)]
        newest = max(candidates, default=None)
        for version, name in known:
            if newest and version < newest[0] and not (is_vendors and is_needed(name, needed)):
                newer[name] = Newer(newest[1], is_certain=is_vendors)
    return newer


def is_needed(name: str, needed: frozenset[str] | None) -> bool | None:
    """Return whether the vendor's package needs an OCR model; None for other models, or if `needed` is None.

    A copy in a subfolder also counts as needed, because its version is needed, although the package looks only into the
    model folder itself.
    """
    if needed is None or not name.lower().endswith(OCR_SUFFIX):
        return None
    return name.rpartition("/")[2].lower() in needed
