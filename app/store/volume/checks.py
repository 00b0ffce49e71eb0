"""Checks of what a volume can do, made in a temporary folder in `.store/` at each start and once a minute.

Each guarantee of the store depends on one of these checks. A check tries an operation, because the features that a file
system reports about itself are not reliable.
"""

import contextlib
import os
import secrets
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from app.errors import StoreError
from app.store.locks.ofd import is_locked, try_lock_file
from app.store.volume.filesystem import FileSystem
from app.store.volume.refusals import FULL_ERRORS
from app.store.volume.renames import rename_without_replacing

PROBE_PREFIX = "probe-"
STALE_SECONDS = 600.0
"""The age in seconds after which the temporary folder of a check counts as abandoned. The checks take milliseconds."""
TIME_STEPS_NS = (1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000)
"""The precisions that file systems' times may have, in nanoseconds: from 1 (ext4) and 100 (CIFS) to 1 s (SFTP) and 2 s
(FAT)."""
COARSE_NS = 1_000_000_000
MARK_NS = 1_700_000_001_234_567_891
"""A time in 2023 that changes when it is rounded to any precision coarser than 1 ns."""


class CheckName(StrEnum):
    """The names of the checks."""

    LOCKS = "locks"
    LOCK_QUERIES = "lock-queries"
    EXCLUSIVE_NAMES = "exclusive-names"
    SIZES = "sizes"
    TIMES = "times"
    FILE_NUMBERS = "file-numbers"
    FSYNC = "fsync"
    HARD_LINKS = "hard-links"
    NOTIFICATION = "notification"
    SHARED_LOCKS = "shared-locks"
    """This check is made by `app.store.volume.shared_locks` and not here, because it observes services and not
    files."""


@dataclass(frozen=True, slots=True)
class VolumeCheck:
    """The result of one check."""

    name: CheckName
    ok: bool
    required: bool
    """True if changes are refused unless the check passes."""
    reason: str | None = None
    """What is wrong, and what would help, as text; None if the check has passed."""


@dataclass(frozen=True, slots=True)
class VolumeReport:
    """The results of all checks."""

    checks: tuple[VolumeCheck, ...]
    time_step_ns: int
    """The precision of the file system's modification times."""

    def has(self, name: CheckName) -> bool:
        """True if the check `name` was made and has passed."""
        return any(check.ok for check in self.checks if check.name == name)


def try_volume(store_dir: Path, file_system: FileSystem, on_step: Callable[[], None] = lambda: None) -> VolumeReport:
    """Make all checks in a temporary folder, and return their results. Blocks; calls `on_step` before each check.

    Raises OSError if the checks cannot be made, for example on a full disk.
    """
    folder = store_dir / f"{PROBE_PREFIX}{secrets.token_hex(8)}"
    folder.mkdir()
    try:
        time_step_ns, times = _time_step(folder)

        def tried(name: CheckName, check: Callable[[Path], str | None], *, required: bool) -> VolumeCheck:
            on_step()
            return _checked(name, check, folder, required=required)

        checks = (
            tried(CheckName.LOCKS, _locks, required=True),
            tried(CheckName.LOCK_QUERIES, _lock_queries, required=False),
            tried(CheckName.EXCLUSIVE_NAMES, _exclusive_names, required=True),
            tried(CheckName.SIZES, _sizes, required=True),
            times,
            tried(CheckName.FILE_NUMBERS, _file_numbers, required=True),
            tried(CheckName.FSYNC, _fsync, required=False),
            tried(CheckName.HARD_LINKS, _hard_links, required=False),
            _notification(file_system),
        )
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return VolumeReport(checks, time_step_ns)


def sweep_probes(store_dir: Path) -> None:
    """Remove the temporary folders of checks that killed processes have left. No user's file is in these folders."""
    for folder in store_dir.glob(f"{PROBE_PREFIX}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - folder.stat().st_mtime > STALE_SECONDS:
                shutil.rmtree(folder, ignore_errors=True)


def _checked(name: CheckName, check: Callable[[Path], str | None], folder: Path, *, required: bool) -> VolumeCheck:
    try:
        reason = check(folder)
    except (OSError, StoreError) as exc:
        if (isinstance(exc, OSError) and exc.errno in FULL_ERRORS) or not folder.is_dir():
            raise  # neither a full disk nor a removed folder shows what the volume can do
        reason = f"it failed: {exc}"
    return VolumeCheck(name, reason is None, required, reason)


def _locks(folder: Path) -> str | None:
    with (folder / "lock").open("w+b") as holder, (folder / "lock").open("r+b") as other:
        if not try_lock_file(holder.fileno()):
            return "a free lock cannot be taken"
        if try_lock_file(other.fileno()):
            return "a lock that is held can be taken a second time; mount the volume with locks"
    return None


def _lock_queries(folder: Path) -> str | None:
    with (folder / "asked").open("w+b") as holder, (folder / "asked").open("r+b") as other:
        if not try_lock_file(holder.fileno()) or is_locked(other.fileno()):
            return None
    return "locks held on this machine cannot be queried, as on CIFS: a model in use here may be shown as not in use"


def _exclusive_names(folder: Path) -> str | None:
    """Check that creating a file, and renaming without replacement, fail if the name is taken."""
    for name in ("one", "other"):
        (folder / name).write_text(name)
    with contextlib.suppress(FileExistsError):
        (folder / "one").open("x").close()
        return "a file can be created although its name is taken"
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(FileExistsError):
            rename_without_replacing("one", "other", source_folder=descriptor, target_folder=descriptor)
            return "a rename that must not replace a file replaces it"
        rename_without_replacing("one", "third", source_folder=descriptor, target_folder=descriptor)
    finally:
        os.close(descriptor)
    found = {path.name: path.read_text() for path in (folder / "other", folder / "third")}
    return None if found == {"other": "other", "third": "one"} else "a rename loses the content of a file"


def _sizes(folder: Path) -> str | None:
    """Check that a file has its size after a write and a rename."""
    with (folder / "sized").open("wb") as file:
        file.write(b"x" * 100_000)
        os.fsync(file.fileno())
    renamed = (folder / "sized").rename(folder / "renamed")
    found = {renamed.stat().st_size, len(renamed.read_bytes())}
    sizes = " and ".join(f"{size:,}" for size in sorted(found))
    return None if found == {100_000} else f"a file of 100,000 bytes is shown with a size of {sizes} bytes"


def _time_step(folder: Path) -> tuple[int, VolumeCheck]:
    """Return the precision of the file system's times, in nanoseconds, and the result of the check `times`."""
    path = folder / "timed"
    path.open("x").close()
    os.utime(path, ns=(MARK_NS, MARK_NS))
    found_ns = path.rename(folder / "timed-renamed").stat().st_mtime_ns
    step_ns = next((step for step in TIME_STEPS_NS if MARK_NS // step * step == found_ns), None)
    if step_ns is None:
        reason = "modification times are not stored as they are set, so they do not distinguish two versions"
        return COARSE_NS, VolumeCheck(CheckName.TIMES, ok=False, required=False, reason=reason)
    reason = f"times are stored in steps of {step_ns / 1e9:g} s: two versions of one size in one step look alike"
    is_fine = step_ns < COARSE_NS
    return step_ns, VolumeCheck(CheckName.TIMES, is_fine, required=False, reason=None if is_fine else reason)


def _file_numbers(folder: Path) -> str | None:
    """Check that a folder's listing has the same inode numbers of files as `stat`.

    With these numbers the store detects that another machine has replaced a file.
    """
    (folder / "numbered").open("x").close()
    with os.scandir(folder) as entries:
        number = next(entry.inode() for entry in entries if entry.name == "numbered")
    if number == (folder / "numbered").lstat().st_ino:
        return None
    return "listings of folders lack the inode numbers of files, so replacements by other machines are not detected"


def _fsync(folder: Path) -> str | None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    return None


def _hard_links(folder: Path) -> str | None:
    (folder / "linked").open("x").close()
    os.link(folder / "linked", folder / "link")
    return None


def _notification(file_system: FileSystem) -> VolumeCheck:
    ok = file_system.is_local
    reason = f"{file_system.kind} does not report the changes of other machines: the folder is scanned twice a second"
    return VolumeCheck(CheckName.NOTIFICATION, ok, required=False, reason=None if ok else reason)
