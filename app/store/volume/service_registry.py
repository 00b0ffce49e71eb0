"""The registry of the services on one folder. It shows whether the locks of each service reach the other services.

Each service has a file `<id>.<count>` in `.store/services/`, and holds the kernel's lock on the file as long as the
service lives. Every second the service renames its file to the next count: clients cache times and contents of files,
but a new listing has the server's names. A file that keeps being renamed, but whose lock cannot be seen from here,
belongs to a living service whose locks do not reach this machine.

On a local disk the lock alone shows that a service lives, so the file keeps its name. The lock there is a shared one on
a file that is open for reading: a file that is open for writing would keep an operator from remounting the disk
read-only. A service that must not write only looks at the others.
"""

import contextlib
import io
import os
import re
import secrets
import time
from dataclasses import dataclass
from pathlib import Path

from app.store.locks.ofd import SHARED, WHOLE_FILE, is_locked, try_lock_byte, try_lock_file
from app.store.records.forms import RecordDamaged
from app.store.records.reader import open_regular
from app.store.volume.server_lookups import files_on_server

HEARTBEAT_SECONDS = 1.0
"""How often each service renames its file."""
SILENT_SECONDS = 4.0
"""A service without a visible lock counts as dead if its file was not renamed for this many seconds."""
FORGOTTEN_SECONDS = 60.0
"""The file of a dead service is deleted after this many seconds. If the service is alive after all, it creates a new
file."""
FILE_NAME = re.compile(r"(?P<id>[0-9a-f]{16})\.(?P<count>\d{1,18})")


@dataclass(frozen=True, slots=True)
class _Seen:
    """The last observation of a service without a visible lock."""

    count: int
    at: float
    """When the service's file was first seen with this count, on the monotonic clock."""
    moved_at: float | None = None
    """When the count was last seen to change; None if no change was seen."""


class ServiceRegistry:
    """Registers this service on its folder, and observes the folder's other services.

    Methods block and raise OSError.
    """

    def __init__(self, folder: Path, *, is_shared: bool = True) -> None:
        """`is_shared`: whether other machines may use the folder."""
        self.id = secrets.token_hex(8)
        self.living: frozenset[str] = frozenset()
        """The ids of the other living services, as of the last look."""
        self.names: tuple[str, ...] = ()
        """The names of all files in the registry's folder, as of the last look."""
        self.unreachable: frozenset[str] = frozenset()
        """The ids of living services whose locks cannot be seen from here."""
        self.unjudged: frozenset[str] = frozenset()
        """The ids of services without a visible lock that have been observed for less than SILENT_SECONDS."""
        self._folder = folder
        self._is_shared = is_shared
        self.reads_only = False
        """True to look at the other services only, and write nothing."""
        self._file: io.FileIO | None = None
        self._count = 0
        self._seen: dict[str, _Seen] = {}
        self._reached: set[str] = set()

    def beat(self) -> None:
        """Show that this service lives, on a shared volume by renaming its file, and look at the other services."""
        if not self.reads_only and (
            self._file is None or not self._shown(self._file) or not self._is_still_locked(self._file)
        ):
            self._join()
        self.look()

    def look(self) -> None:
        """Look at the other services, without registering this service."""
        now, unlocked, living, present = time.monotonic(), dict[str, int](), set[str](), set[str]()
        self.names = self._list()
        for name in self.names:
            if (match := FILE_NAME.fullmatch(name)) and match["id"] != self.id:
                service, count = match["id"], int(match["count"])
                present.add(service)
                held = self._is_locked(name)
                # A file that was renamed after the listing belongs to a service that lives.
                if held or (held is None and service in self.living):
                    living.add(service)
                if held:
                    self._reached.add(service)
                elif held is not None or service in self._seen:
                    unlocked[service] = max(count, unlocked.get(service, 0))
        self._reached &= present  # a service that ends again and again has a new id each time
        self._seen = {
            service: before
            if (before := self._seen.get(service)) and before.count == count
            else _Seen(count, now)
            if before is None
            else _Seen(count, now, moved_at=now)
            for service, count in unlocked.items()
        }
        self._judge(now)
        self.living = self.unreachable | living
        if not self.reads_only:
            self._forget_dead(now)

    def _list(self) -> tuple[str, ...]:
        """List the registry's folder; on a shared volume, as the server has it now."""
        if self._is_shared and not self.reads_only:
            return tuple(files_on_server(self._folder))
        return tuple(entry.name for entry in self._folder.iterdir())

    def _judge(self, now: float) -> None:
        self.unreachable = frozenset(
            service for service, seen in self._seen.items() if seen.moved_at and now - seen.moved_at < SILENT_SECONDS
        )
        # A service whose lock was visible before has died, unless its file is renamed.
        self.unjudged = frozenset(
            service
            for service, seen in self._seen.items()
            if not seen.moved_at and now - seen.at < SILENT_SECONDS and service not in self._reached
        )

    def leave(self) -> None:
        """Delete this service's file, and release its lock."""
        if self._file:
            with self._file, contextlib.suppress(OSError):
                self._path_of(self._count).unlink(missing_ok=True)
            self._file = None

    def _join(self) -> None:
        self._folder.mkdir(exist_ok=True)
        self.leave()
        # The file has another name until it is locked, since a file without a visible lock alarms other services.
        draft = self._folder / f".{self.id}"
        draft.unlink(missing_ok=True)
        self._file = io.FileIO(draft, "x+")
        if not self._is_shared:
            self._file.close()
            self._file = io.FileIO(draft)
        self._lock(self._file)
        self._count += 1
        draft.rename(self._path_of(self._count))

    def _lock(self, file: io.FileIO) -> bool:
        """Lock this service's file. False if another process has locked it."""
        if self._is_shared:
            return try_lock_file(file.fileno())
        return try_lock_byte(file.fileno(), SHARED, WHOLE_FILE)

    def _is_still_locked(self, file: io.FileIO) -> bool:
        """Lock this service's file again, because a restarted file server loses the lock. False if that fails."""
        with contextlib.suppress(OSError):
            return self._lock(file)
        return False

    def _shown(self, file: io.FileIO) -> bool:
        """Return whether this service's file is there; on a shared volume, rename it."""
        if self._is_shared:
            return self._renamed()
        try:
            return self._path_of(self._count).lstat().st_ino == os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return False

    def _renamed(self) -> bool:
        """Rename this service's file.

        False if the file is gone: another service deleted it, or the folder was emptied.
        """
        try:
            self._path_of(self._count).rename(self._path_of(self._count + 1))
        except FileNotFoundError:
            return False
        self._count += 1
        return True

    def _is_locked(self, name: str) -> bool | None:
        """True if this machine can see a service's lock; None if the service's file was renamed after the listing.

        On a local disk the kernel is asked. On a shared volume the method tries to take the lock, because not every
        file system can query locks. No process ever waits for this lock. A service that must not write takes a shared
        lock, for which it needs no right to write.
        """
        try:
            if not self._is_shared:
                with io.FileIO(open_regular(self._folder / name), "r") as file:
                    return is_locked(file.fileno())
            if self.reads_only:
                with io.FileIO(open_regular(self._folder / name), "r") as file:
                    return not try_lock_byte(file.fileno(), SHARED, WHOLE_FILE)
            with io.FileIO(open_regular(self._folder / name, os.O_RDWR), "r+") as file:
                return not try_lock_file(file.fileno())
        except (FileNotFoundError, RecordDamaged):  # or no service made this file
            return None

    def _forget_dead(self, now: float) -> None:
        for service, seen in self._seen.items():
            if now - seen.at > FORGOTTEN_SECONDS:
                with contextlib.suppress(IsADirectoryError):
                    (self._folder / f"{service}.{seen.count}").unlink(missing_ok=True)

    def _path_of(self, count: int) -> Path:
        return self._folder / f"{self.id}.{count}"
