"""Which models are old, and which must not be deleted: patterns from the configuration."""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

Status = Literal["current", "old"]
"""Of a model: `old` if it may be pruned for its age."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Shell patterns, matched with case against the whole name and against its last part."""

    old_patterns: tuple[str, ...] = ("old_*",)
    protected_patterns: tuple[str, ...] = ()

    def is_old(self, name: str) -> bool:
        """Whether the model is stale; else it is current."""
        return self.stale_pattern(name) is not None

    def status_of(self, name: str) -> Status:
        """Return `old` for a stale model."""
        return "old" if self.is_old(name) else "current"

    def stale_pattern(self, name: str) -> str | None:
        """The first pattern that makes the model stale, or None."""
        return _first_match(name, self.old_patterns)

    def protecting(self, name: str) -> str | None:
        """The first pattern that protects the model, or None."""
        return _first_match(name, self.protected_patterns)


def _first_match(name: str, patterns: tuple[str, ...]) -> str | None:
    last_part = name.rpartition("/")[2]
    return next((p for p in patterns if fnmatchcase(name, p) or fnmatchcase(last_part, p)), None)
