"""Decides when items have expired, such as entries of the trash.

No item expires early because a clock is wrong or jumps.

A running service measures time by its monotonic clock: an item that appears while the service runs is kept for its
whole lifetime, whatever the system's clock or another machine's clock says. For items that existed before the service
started, the service needs the system's clock, and a system's clock that is far ahead would expire all items at once. So
the services on a folder keep the time in a file. A service that starts and finds that the system's clock is later
trusts that clock only after it has run for ACCEPTED_SECONDS. As a consequence, time during which no service runs does
not count.
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
"""How long a service must see the system's clock ahead of the kept time, in seconds, before it trusts the clock."""
KEPT_SECONDS = 60.0
"""How often, in seconds, a service writes the time to the file."""


class FolderClock:
    """The clock of one model folder, kept in a file by all services on the folder.

    A service starts with the earlier of the kept time and the system's time.
    """

    def __init__(self, path: Path, fallback: Path) -> None:
        """`path` is the file with the kept time.

        If this file is missing, the modification time of the file `fallback` is used.
        """
        self._path = path
        self._fallback = fallback
        self._believed: tuple[datetime, float] | None = None
        """The time that this process last accepted as right, and the monotonic time at that moment."""
        self._doubtful_since: float | None = None
        """The monotonic time since which the system's clock is later than the time computed from `_believed`; None
        while it is not later."""
        self._kept_at: float | None = None

    def now(self) -> datetime:
        """Return the folder's time, which decides when items expire that existed before this process started."""
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
        """Read the kept time from the file or its fallback; None if neither has a valid time."""
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, RecursionError, OverflowError):
            at = datetime.fromisoformat(json.loads(self._path.read_text())["at"])
            return at if at.tzinfo else None
        with contextlib.suppress(OSError, OverflowError, ValueError):
            return datetime.fromtimestamp(self._fallback.stat().st_mtime, UTC)
        return None


class Expiry:
    """Keeps the deadlines of all items of one kind, such as the entries of the trash."""

    def __init__(self, clock: FolderClock) -> None:
        self._clock = clock
        self._deadlines: dict[str, float] = {}
        self._has_seen_all = False

    def is_over(self, key: str, expires_at: datetime, lifetime: timedelta) -> bool:
        """True if an item has expired and may be deleted.

        `key` names the item and its version; `lifetime` is how long the item is kept.
        """
        deadline = self._deadlines.get(key)
        if deadline is None:
            deadline = time.monotonic() + self._remaining(expires_at, lifetime).total_seconds()
            self._deadlines[key] = deadline
        return time.monotonic() >= deadline and expires_at <= datetime.now(UTC)

    def seen_all(self, keys: Collection[str]) -> None:
        """Record that `keys` are all items that exist now.

        An item that appears after this call is kept for its whole lifetime.
        """
        self._deadlines = {key: deadline for key, deadline in self._deadlines.items() if key in keys}
        self._has_seen_all = True

    def _remaining(self, expires_at: datetime, lifetime: timedelta) -> timedelta:
        if self._has_seen_all:
            return lifetime
        return min(lifetime, expires_at - self._clock.now())
