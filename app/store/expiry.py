"""Decides when something kept for a time is over, so that a wrong or jumping clock deletes nothing early.

A running service measures by its monotonic clock: what it sees appear is kept for its whole time from then on, whatever
the system's clock, or another machine's, says meanwhile. For what was there before it started, it needs the system's
clock. A clock that is far ahead would end everything at once; so the services on a folder keep the time in a file, and
a service that starts does not believe a later time until it has run for ACCEPTED_SECONDS. So time while no service
runs does not count.
"""

import contextlib
import json
import secrets
import time
from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from pathlib import Path

from app.store.volume.renames import rename_path

ACCEPTED_SECONDS = 3600.0
"""After this time of running, the system's clock is believed although it is later than the kept time explains."""
KEPT_SECONDS = 60.0
"""How often a service writes the time to the file."""


class FolderClock:
    """The time of one model folder: what its services agree on, and not later than the system's clock."""

    def __init__(self, path: Path, fallback: Path) -> None:
        """`path` keeps the time. If it is missing, `fallback` is a file whose modification time is used, if any."""
        self._path = path
        self._fallback = fallback
        self._believed: tuple[datetime, float] | None = None
        """A time that was believed, and when that was, on the monotonic clock."""
        self._doubtful_since: float | None = None
        """Since when the system's clock is later than the believed time explains."""
        self._kept_at: float | None = None

    def now(self) -> datetime:
        """Return the time by which items are judged that were there before this process started."""
        if self._believed is None:
            wall, kept = datetime.now(UTC), self._read()
            self._believed = min(wall, kept) if kept else wall, time.monotonic()
        at, since = self._believed
        return at + timedelta(seconds=time.monotonic() - since)

    def keep(self) -> None:
        """Write the time to the file, at most once in KEPT_SECONDS. Raises OSError."""
        monotonic = time.monotonic()
        if self._kept_at is not None and monotonic - self._kept_at < KEPT_SECONDS:
            return
        wall, now = datetime.now(UTC), self.now()
        if wall <= now + timedelta(seconds=KEPT_SECONDS):
            self._doubtful_since = None
        elif self._doubtful_since is None:
            self._doubtful_since = monotonic
        elif monotonic - self._doubtful_since >= ACCEPTED_SECONDS:
            self._doubtful_since, self._believed, now = None, (wall, monotonic), wall
        self._write(min(wall, now))
        self._kept_at = monotonic

    def _write(self, at: datetime) -> None:
        draft = self._path.with_suffix(f".{secrets.token_hex(8)}.new")
        try:
            with draft.open("x") as file:
                file.write(json.dumps({"at": at.isoformat()}))
            rename_path(draft, self._path)
        except OSError:
            with contextlib.suppress(OSError):
                draft.unlink(missing_ok=True)
            raise

    def _read(self) -> datetime | None:
        """Read the kept time; None if there is none, or if it cannot be used."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
            at = datetime.fromisoformat(json.loads(self._path.read_text())["at"])
            return at if at.tzinfo else None
        with contextlib.suppress(OSError, OverflowError, ValueError):
            return datetime.fromtimestamp(self._fallback.stat().st_mtime, UTC)
        return None


class Expiry:
    """The deadlines of one kind of item, such as the entries of the trash."""

    def __init__(self, clock: FolderClock) -> None:
        self._clock = clock
        self._deadlines: dict[str, float] = {}
        self._has_seen_all = False

    def is_over(self, key: str, expires_at: datetime, lifetime: timedelta) -> bool:
        """True if an item may be deleted. `key` names the item and its version; `lifetime` is how long it is kept."""
        deadline = self._deadlines.get(key)
        if deadline is None:
            deadline = time.monotonic() + self._remaining(expires_at, lifetime).total_seconds()
            self._deadlines[key] = deadline
        return time.monotonic() >= deadline and expires_at <= datetime.now(UTC)

    def seen_all(self, keys: Collection[str]) -> None:
        """State that these are all items now. An item that is new from now on has its whole time before it."""
        self._deadlines = {key: deadline for key, deadline in self._deadlines.items() if key in keys}
        self._has_seen_all = True

    def _remaining(self, expires_at: datetime, lifetime: timedelta) -> timedelta:
        if self._has_seen_all:
            return lifetime
        return min(lifetime, expires_at - self._clock.now())
