"""The model folder on its disk: whether the right folder is mounted and writable, and safe paths into the folder."""

import contextlib
import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.errors import (
    ModelNotFound,
    NotAModel,
    StoreError,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnsafe,
)
from app.events import EventName, OnEvent
from app.store.inventory import STORE_DIR, Model, model_at, what_instead
from app.store.names import parts_of
from app.store.records.reader import RecordReader
from app.store.volume.filesystem import FileSystem, file_system_of
from app.store.volume.identity import FolderIdentity
from app.store.volume.refusals import UNWRITABLE_ERRORS, explaining_refusals, refusal_of
from app.store.volume.renames import may_change
from app.store.volume.server_lookups import status_on_server

MOST_TRIES = 5
"""How often a folder is created that another program removes at the same time."""
FOLDERS = ("locks", "trash", "aside", "staging", "digests", "jobs", "protection", "corrupt", "services", "webhooks")


class Volume:
    """The model folder, and in it `.store/` with locks, trash and the identity that proves which volume is mounted."""

    def __init__(self, root: Path, file_system: FileSystem | None = None, on_event: OnEvent = lambda *_: None) -> None:
        """If `file_system` is None, `prepare()` reads the folder's file system from the mount table."""
        self.root = Path(os.path.realpath(root))  # Path.resolve() raises RuntimeError for a link to itself
        self.records = RecordReader(self.root, on_event)
        """The reader of the records in `.store/`, which remembers damaged records."""
        self.store_dir = self.root / STORE_DIR
        self.lock_file = self.store_dir / "locks" / "models"
        self.trash_dir = self.store_dir / "trash"
        self.aside_dir = self.store_dir / "aside"
        """The folder for files that are being replaced, restored or claimed. Few files are there, and each for a short
        time."""
        self.staging_dir = self.store_dir / "staging"
        self.digests_dir = self.store_dir / "digests"
        self.protection_dir = self.store_dir / "protection"
        self.corrupt_dir = self.store_dir / "corrupt"
        self.jobs_dir = self.store_dir / "jobs"
        self.webhooks_dir = self.store_dir / "webhooks"
        self.journal_file = self.store_dir / "journal.jsonl"
        self.clock_file = self.store_dir / "clock.json"
        self.services_dir = self.store_dir / "services"
        self.identity = FolderIdentity(self.store_dir / "store.json", self.records)
        self.file_system = file_system or FileSystem("unknown")
        """The file system of the folder."""
        self._is_given = file_system is not None
        self.time_step_ns = 1
        """The precision of the file system's times, as `app.store.volume.checks` found it."""
        self.has_file_numbers = True
        """True if a folder's listing has the inode numbers of its files, as `app.store.volume.checks` found."""
        self.has_lock_queries = True
        """True if F_OFD_GETLK reports locks held on this machine, as `app.store.volume.checks` found."""
        self.unsafe: str | None = None
        """Why this folder must not be changed, although it is writable; None if it is safe. Set by `VolumeMonitor`."""
        self.unwritable: StoreError | None = None
        """Why the folder could not be written when `ask_writable` last checked; None if it could."""
        self._is_prepared = False
        self._root_id: tuple[int, int] | None = None
        self._folders = tuple(self.store_dir / name for name in FOLDERS)
        self._on_event = on_event

    @property
    def is_shared(self) -> bool:
        """True if other machines may change the folder, so that lookups here may be out of date."""
        return not self.file_system.is_local

    def status(self, path: Path) -> os.stat_result:
        """Get the present status of a file from the file system's server. Only for folders with few files.

        Raises FileNotFoundError and LookupStale.
        """
        return status_on_server(path) if self.is_shared and self.has_file_numbers else path.lstat()

    def prepare(self) -> None:
        """Create the folder and its `.store/` if they are missing. A folder that cannot be written is served read-only.

        Raises StoreUnavailable if there is no folder and none can be created.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(f"{self.root} cannot be created ({exc.strerror})") from exc
        if not self._is_given:
            self.file_system = file_system_of(self.root)
        try:
            self._complete()
        except OSError as exc:
            if exc.errno not in UNWRITABLE_ERRORS:
                raise StoreUnavailable(f"{exc.filename}: {exc.strerror}") from exc
        try:
            self.identity.id = self.identity.read()
            self._root_id = _id_of(self.root)
        except OSError as exc:
            raise StoreUnavailable(f"{exc.filename}: {exc.strerror}") from exc
        self.ask_writable()

    def _complete(self) -> None:
        """Create the missing folders and files of `.store/`."""
        self.check_folder(self.store_dir)
        self.store_dir.mkdir(exist_ok=True)
        for folder in self._folders:
            # If a file lies at a folder's path, `check_writable` reports that, and the service starts nevertheless.
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            self.lock_file.touch(exist_ok=False)  # for users who may take leases but not create files
        self.identity.create(secrets.token_hex(16))
        self._is_prepared = True

    @property
    def is_writable(self) -> bool:
        """True if the folder could be written when `ask_writable` last checked."""
        return self.unwritable is None

    def ask_writable(self) -> StoreError | None:
        """Check whether the volume can be written now.

        Returns why the volume cannot be written, and sets `unwritable` to that error; None if it can be written. If the
        volume could not be written at the start and now can, creates its `.store/`. Takes microseconds.
        """
        try:
            self.unwritable = self._write_problem()
        except OSError as exc:
            self.unwritable = refusal_of(exc)
        return self.unwritable

    def _write_problem(self) -> StoreError | None:
        if os.statvfs(self.root).f_flag & os.ST_RDONLY:
            return StoreReadOnly(f"{self.root} is mounted read-only")
        if not self._is_prepared:
            self._complete()
            self.identity.id = self.identity.id or self.identity.read()
        for folder in (self.root, self.store_dir, self.trash_dir, self.aside_dir, self.staging_dir):
            if not os.access(folder, os.W_OK | os.X_OK, effective_ids=True) and _is_denied(folder):
                return refusal_of(PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder)))
        return None

    def check(self) -> None:
        """Raise StoreUnavailable if the folder is missing, or is another folder than at the start of the service."""
        try:
            if not self.root.is_dir():
                raise StoreUnavailable(f"{self.root} is missing; is its volume mounted?")
            self.check_folder(self.store_dir)
            if self.identity.id is None or self.identity.is_as_seen() or self._has_identity(self.identity.id):
                return
        except OSError as exc:  # a network file system that has lost its server
            raise StoreUnavailable(f"{exc.filename}: {exc.strerror}") from exc
        else:
            raise StoreUnavailable(f"{self.root} is not the folder the service started with; is its volume mounted?")

    def check_writable(self) -> None:
        """Raise StoreUnavailable, StoreReadOnly, StoreDenied or StoreUnsafe if the folder must not be changed now.

        If folders of `.store/` were removed, creates them again.
        """
        self.check()
        missing = [folder for folder in self._folders if not self.check_folder(folder)]
        if problem := self.ask_writable():
            raise problem
        if self.unsafe:
            raise StoreUnsafe(self.unsafe)
        with explaining_refusals():
            for folder in missing:
                self._make_again(folder)

    def check_folder(self, folder: Path) -> bool:
        """Return whether a folder of `.store/` exists.

        Raises StoreUnavailable if something other than a folder is at this path, such as a link, which could lead to
        files outside the store.
        """
        try:
            mode = os.lstat(folder).st_mode
        except FileNotFoundError:
            return False
        if what := what_instead(mode, directory_ok=True):
            raise in_the_way(folder, what)
        if stat.S_ISREG(mode):
            raise in_the_way(folder, "a file")
        return True

    def find(self, name: str) -> Model:
        """Get the model `name` as it is on the disk now.

        Raises InvalidModelName, NotAModel, ModelNotFound and StoreUnavailable.
        """
        self.check()
        with self.parent_of(name) as (folder, leaf):
            return self.find_in(folder, leaf, name)

    def find_in(self, folder: int, leaf: str, name: str) -> Model:
        """Get the model `name`, given its open folder and the last part of its name.

        Raises ModelNotFound, NotAModel.
        """
        try:
            with explaining_refusals():
                status = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            raise ModelNotFound(name) from None
        if what := what_instead(status.st_mode):
            raise NotAModel(name, what)
        return model_at(name, status)

    @contextmanager
    def parent_of(self, name: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder of a model's name, following no link; yield its descriptor and the last part of the name.

        A call relative to that descriptor stays inside the model folder, even if a folder is replaced by a link
        meanwhile. Raises InvalidModelName, NotAModel, ModelNotFound; with `create`, which creates missing folders,
        StoreUnavailable in place of ModelNotFound.
        """
        *folders, leaf = parts_of(name)
        with contextlib.ExitStack() as opened:
            folder = _open_folder(self.root, None, opened)
            device = os.fstat(folder).st_dev
            for part in folders:
                enter = _enter_or_make if create else _enter
                folder = enter(folder, part, name, opened)
                if os.fstat(folder).st_dev != device:
                    raise NotAModel(name, "on another file system, mounted below the model folder")
            yield folder, leaf

    def _has_identity(self, identity: str) -> bool:
        """True if the folder has this identity. If `.store/` was removed, creates it again with this identity.

        `.store/` is created only if the folder is still the folder with which the service started: if a volume is no
        longer mounted, its mount point is another folder. Raises StoreUnavailable if `.store/` was removed once more
        meanwhile.
        """
        found = self.identity.read()
        if found is None and _id_of(self.root) == self._root_id:
            if not self.check_folder(self.store_dir):
                self._make_again(self.store_dir)
            self.identity.create(identity)
            self._on_event(EventName.STORE_REMADE, {"path": str(self.identity.path)})
            if (found := self.identity.read()) is None:
                raise StoreUnavailable(f"{self.identity.path} was removed. Try again; the service creates it")
        return found == identity

    def _make_again(self, folder: Path) -> None:
        with contextlib.suppress(FileExistsError):
            folder.mkdir()
            self._on_event(EventName.STORE_REMADE, {"path": str(folder)})


def in_the_way(path: Path, what: str) -> StoreUnavailable:
    """Return the error for a path of the store's own files that something else occupies.

    `what` says what is there, such as 'a file'.
    """
    return StoreUnavailable(
        f"{path} is {what}, and the store keeps its own data at this path. Remove what is there; the service then "
        "creates its own again"
    )


def _id_of(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino


def _is_denied(folder: Path) -> bool:
    """True if a folder is there, and this process may not change it.

    The folder may be removed or replaced between two calls with its path, so both questions are about one descriptor.
    """
    try:
        descriptor = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except (FileNotFoundError, NotADirectoryError):
        return False
    try:
        return not may_change(descriptor)
    finally:
        os.close(descriptor)


def _enter(folder: int, part: str, name: str, opened: contextlib.ExitStack) -> int:
    try:
        return _open_folder(part, folder, opened)
    except FileNotFoundError:
        raise ModelNotFound(name) from None
    except OSError as exc:
        if exc.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise
        with contextlib.suppress(FileNotFoundError):
            # A folder is there only if it has just replaced what could not be opened.
            if what := what_instead(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode, directory_ok=True):
                raise NotAModel(name, f"reached through {what}") from None
        raise ModelNotFound(name) from None


def _enter_or_make(folder: int, part: str, name: str, opened: contextlib.ExitStack) -> int:
    """Open a folder of a model's name, after creating it if it is missing. Raises NotAModel and StoreUnavailable."""
    for _ in range(MOST_TRIES):
        try:
            with contextlib.suppress(FileExistsError):
                os.mkdir(part, dir_fd=folder)
            return _enter(folder, part, name, opened)
        except (FileNotFoundError, ModelNotFound):  # removed again, or a file is there
            with contextlib.suppress(FileNotFoundError):
                if stat.S_ISREG(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
                    raise NotAModel(name, f"below {part!r}, which is a file") from None
    raise StoreUnavailable(f"another program removes the folder of {name!r} while it is used; try again")


def _open_folder(path: Path | str, inside: int | None, opened: contextlib.ExitStack) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if inside is not None else 0)
    descriptor = os.open(path, flags, dir_fd=inside)
    opened.callback(os.close, descriptor)
    return descriptor
