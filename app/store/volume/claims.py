"""Claims: a file of `.store/` is moved aside for a moment, so that exactly one process on any machine acts on it.

A claim renames the file to a unique name in `.store/aside/`, where there are few files. The file system's server
decides the rename, even if a client's cache is stale: exactly one of several claims of a file succeeds, and none if the
file is gone. Then the claiming process gets the file's status from the server, and gives the file back, moves it or
removes it.
"""

import contextlib
import os
import re
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.store.records.reader import read_regular
from app.store.volume.renames import rename_path, rename_without_replacing
from app.store.volume.server_lookups import files_on_server
from app.store.volume.volume import FOLDERS, Volume

LOOKUP_PAUSES = (0.0, 0.02, 0.1)
CLAIM_NAME = re.compile(r"(?P<folder>[a-z]+)~[0-9a-f]{16}~(?P<name>.+)")
ABANDONED_SECONDS = 30.0
"""A claim of more than this age, in seconds, counts as left by a killed process, and its file is given back. Claims of
living processes take a few seconds at most."""


class Claim:
    """One claimed file, which was moved to `.store/aside/`."""

    def __init__(self, volume: Volume, path: Path) -> None:
        self._path = volume.aside_dir / f"{path.parent.name}~{secrets.token_hex(8)}~{path.name}"
        self._original = path
        self._volume = volume
        rename_path(path, self._path)

    def status(self) -> os.stat_result:
        """Get the status of the claimed file from the file system's server. Raises LookupStale."""
        return self._volume.status(self._path)

    def read(self, max_bytes: int) -> bytes:
        """Read the claimed file. Raises RecordDamaged if the file is too large, or is not a regular file."""
        return read_regular(self._path, max_bytes)

    def move(self, folder: int, leaf: str) -> None:
        """Move the claimed file to a name in an open folder. Raises FileExistsError if the name is taken.

        Call `status` before this method, since with a stale cache another file could be moved.
        """
        with folder_opened(self._path.parent) as aside:
            rename_without_replacing(self._path.name, leaf, source_folder=aside, target_folder=folder)

    def give_back(self) -> None:
        """Move the claimed file back to its original name."""
        give_back(self._path, self._original)

    def remove(self) -> None:
        """Delete the claimed file."""
        self._path.unlink()


class Claims:
    """The claims of one model folder."""

    def __init__(self, volume: Volume) -> None:
        self._volume = volume
        self._aside = volume.aside_dir
        self._seen: dict[str, float] = {}

    @property
    def is_shared(self) -> bool:
        """True if other machines claim files here too."""
        return self._volume.is_shared

    @property
    def lookup_pauses(self) -> tuple[float, ...]:
        """The pauses, in seconds, before the attempts to find a file. A claim may hide the file for a moment.

        On a volume that is not shared there is only one attempt, because no other machine can hold a claim.
        """
        return LOOKUP_PAUSES if self.is_shared else LOOKUP_PAUSES[:1]

    def claim(self, path: Path) -> Claim:
        """Claim a file of a folder of `.store/`: move it aside.

        Raises FileNotFoundError if another process has claimed, moved or removed the file.
        """
        return Claim(self._volume, path)

    def has(self, path: Path) -> bool:
        """True if a process on any machine has claimed the file and still holds the claim."""
        names = map(CLAIM_NAME.fullmatch, files_on_server(self._aside))
        return any(match and (match["folder"], match["name"]) == (path.parent.name, path.name) for match in names)

    def recover(self) -> None:
        """Give back files that have been claimed for longer than ABANDONED_SECONDS: their claimants were killed."""
        now = time.monotonic()
        names = [path.name for path in self._aside.iterdir() if CLAIM_NAME.fullmatch(path.name)]
        self._seen = {name: self._seen.get(name, now) for name in names}
        for name, seen_at in self._seen.items():
            match = CLAIM_NAME.fullmatch(name)
            if match and match["folder"] in FOLDERS and now - seen_at >= ABANDONED_SECONDS:
                with contextlib.suppress(OSError):
                    give_back(self._aside / name, self._aside.parent / match["folder"] / match["name"])


def give_back(path: Path, original: Path) -> None:
    """Rename a claimed file back to its original name.

    If a newer file has taken the original name, the newer file stays, and the claimed file is deleted or, in staging,
    gets a new name. This cannot happen to entries of the trash and records of jobs, whose names are unique.
    """
    if original.parent.name in {"trash", "jobs"}:
        rename_path(path, original)
        return
    with folder_opened(path.parent) as aside, folder_opened(original.parent) as folder:
        try:
            rename_without_replacing(path.name, original.name, source_folder=aside, target_folder=folder)
        except FileExistsError:
            if original.parent.name == "staging":
                # Not deleted: the lookup may be stale. A sweep deletes an unlocked file without a record.
                path.rename(original.with_name(f"{secrets.token_hex(16)}.part"))
            else:
                path.unlink()


@contextmanager
def folder_opened(folder: Path) -> Iterator[int]:
    """Open a folder of `.store/`, and yield its descriptor for calls with names relative to the folder.

    Raises OSError.
    """
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
