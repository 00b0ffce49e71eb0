"""The kinds of job whose units are files or texts.

A pull is a job of one unit, of a kind of its own: `app.pulls.pull_jobs.PULL`.
"""

from enum import StrEnum

from app.jobs.records import WAITING

WORKING = "working"
"""The phase of a job on files or texts that a service has begun."""
UNIT_PHASES = (WAITING, WORKING)
"""The phases of a job on files or texts while it is unfinished."""
UNITS_RESULT = "`failed_count`, the number of items that failed"
"""What the result of a job of units has, as a phrase for the API's descriptions."""


class ItemJobKind(StrEnum):
    """The kind of a job on files or texts, as its record and its webhook name it."""

    TEXTS = "texts"
    IMAGES = "images"
