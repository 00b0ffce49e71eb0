"""The kinds of job whose units are files or texts."""

from enum import StrEnum

UNIT_PHASES = ("waiting", "working")
UNITS_RESULT = "`failed_count`, the number of items that failed"
"""What the result of such a job has: a phrase for the API's descriptions."""


class UnitKind(StrEnum):
    """The kinds of job whose units are files or texts."""

    TEXTS = "texts"
    IMAGES = "images"
