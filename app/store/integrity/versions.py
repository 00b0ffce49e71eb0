"""Decides whether a record is about the present version of a file, also after the file was copied to another disk.

An ETag contains the size and the modification time of a file. A backup or another file system may round the time down:
tar to seconds, CIFS to 100 ns, FAT to 2 s. A file with such a rounded time counts as the version on record.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime

from app.store.volume.checks import TIME_STEPS_NS

ETAG = re.compile(r'"?(?:[0-9a-f]+-)?(?P<size>[0-9a-f]+)-(?P<time>-?[0-9a-f]+)"')
"""Matches an ETag. In records of earlier releases the inode number comes first."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version of a file, as an ETag names it."""

    size_bytes: int
    modified_ns: int

    @classmethod
    def of(cls, etag: object) -> "Version | None":
        """Parse an ETag. Returns None if `etag` is not an ETag of a model."""
        match = ETAG.fullmatch(etag) if isinstance(etag, str) else None
        return cls(int(match["size"], 16), int(match["time"], 16)) if match else None

    def has_time_of(self, other: "Version") -> bool:
        """True if the times are equal, or the time of `other` is the time of this version, rounded down."""
        return other.modified_ns in {self.modified_ns // step * step for step in TIME_STEPS_NS}

    def is_kept_as(self, other: "Version") -> bool:
        """True if `other` is the same version as this one, perhaps after a copy that rounded the time down."""
        return self.size_bytes == other.size_bytes and self.has_time_of(other)

    def __str__(self) -> str:
        try:
            time = f"{datetime.fromtimestamp(self.modified_ns // 10**9, UTC):%Y-%m-%dT%H:%M:%SZ}"
        except (ValueError, OverflowError, OSError):
            time = f"{self.modified_ns} ns"
        return f"of {time} with {self.size_bytes:,} bytes"


def is_version(noted: object, etag: str) -> bool:
    """True if `noted`, the ETag in a record, and `etag`, the present ETag of the file, are of the same version."""
    before, now = Version.of(noted), Version.of(etag)
    return before is not None and now is not None and before.is_kept_as(now)
