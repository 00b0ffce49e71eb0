"""The patterns of the configuration that decide which models are old, and which must not be deleted."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Status = Literal["current", "old"]
"""The status of a model: `old` if it may be pruned for its age, else `current`."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The patterns of the configuration: shell patterns that are matched with a model's name.

    A pattern may match the whole name or its last part; upper and lower case differ.
    """

    old_patterns: tuple[str, ...] = ("old_*",)
    protected_patterns: tuple[str, ...] = ()

    def is_old(self, name: str) -> bool:
        """True if the name matches one of `old_patterns`."""
        return self.stale_pattern(name) is not None

    def status_of(self, name: str) -> Status:
        """Return `old` if the name matches one of `old_patterns`, else `current`."""
        return "old" if self.is_old(name) else "current"

    def stale_pattern(self, name: str) -> str | None:
        """Return the first of `old_patterns` that the name matches, or None."""
        return _first_match(name, self.old_patterns)

    def protecting(self, name: str) -> str | None:
        """Return the first of `protected_patterns` that the name matches, or None."""
        return _first_match(name, self.protected_patterns)


def _first_match(name: str, patterns: tuple[str, ...]) -> str | None:
    last_part = name.rpartition("/")[2]
    return next((p for p in patterns if fnmatchcase(name, p) or fnmatchcase(last_part, p)), None)
