"""The model folder as a place on a disk: whether it is there, whether it is the one it was, and safe ways into it."""

import contextlib
import errno
import json
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from app.errors import ModelNotFound, NotAModel, StoreFull, StoreReadOnly, StoreUnavailable
from app.store.inventory import STORE_DIR, Model, model_at, what_instead
from app.store.names import parts_of
from app.store.renames import rename_without_replacing

FOLDERS = ("locks", "trash", "staging", "digests", "jobs", "protection", "corrupt")
READ_ONLY_ERRORS = {errno.EROFS, errno.EACCES, errno.EPERM}
FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT}


class Volume:
    """The model folder, and in it `.store/`: locks, trash, and the identity that proves the right volume is mounted."""

    def __init__(self, root: Path) -> None:
        self.root = Path(os.path.realpath(root))  # Path.resolve() raises RuntimeError for a link to itself
        self.store_dir = self.root / STORE_DIR
        self.lock_file = self.store_dir / "locks" / "models"
        self.trash_dir = self.store_dir / "trash"
        self.staging_dir = self.store_dir / "staging"
        self.digests_dir = self.store_dir / "digests"
        self.protection_dir = self.store_dir / "protection"
        self.corrupt_dir = self.store_dir / "corrupt"
        self.jobs_dir = self.store_dir / "jobs"
        self.journal_file = self.store_dir / "journal.jsonl"
        self._identity_file = self.store_dir / "store.json"
        self.identity: str | None = None
        """What `.store/store.json` says; None where none could be written."""
        self._read_only: str | None = None

    def prepare(self) -> None:
        """Create the folder and its `.store/` where they are missing. One that cannot be written is served read-only.

        Raises StoreUnavailable when there is no folder and none can be made.
        """
        try:
            self.root.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise StoreUnavailable(f"{self.root} cannot be created ({exc.strerror})") from exc
        try:
            for folder in FOLDERS:
                (self.store_dir / folder).mkdir(parents=True, exist_ok=True)
            self.lock_file.touch()
            self._create_identity()
        except OSError as exc:
            if exc.errno not in READ_ONLY_ERRORS:
                raise StoreUnavailable(f"{exc.filename}: {exc.strerror}") from exc
            self._read_only = f"{exc.filename}: {exc.strerror}"
        try:
            self.identity = self._read_identity()
        except OSError as exc:
            raise StoreUnavailable(f"{exc.filename}: {exc.strerror}") from exc

    @property
    def is_writable(self) -> bool:
        """Whether it could be written at the start."""
        return self._read_only is None

    def check(self) -> None:
        """Insist that the folder is there and is the one the service started with; raises StoreUnavailable."""
        try:
            if not self.root.is_dir():
                raise StoreUnavailable(f"{self.root} is missing; is its volume mounted?")
            if self.identity is None or self._read_identity() == self.identity:
                return
        except OSError as exc:  # a network's file system that has lost its server
            raise StoreUnavailable(f"{exc.filename}: {exc.strerror}") from exc
        else:
            raise StoreUnavailable(f"{self.root} is not the folder the service started with; is its volume mounted?")

    def check_writable(self) -> None:
        """The same, and that it can be changed; raises StoreReadOnly."""
        self.check()
        if self._read_only:
            raise StoreReadOnly(self._read_only)

    def find(self, name: str) -> Model:
        """The model of that name as it is on disk now.

        Raises InvalidModelName, NotAModel, ModelNotFound and StoreUnavailable.
        """
        self.check()
        with self.parent_of(name) as (folder, leaf):
            return self.find_in(folder, leaf, name)

    def find_in(self, folder: int, leaf: str, name: str) -> Model:
        """The same within an open folder."""
        try:
            status = os.stat(leaf, dir_fd=folder, follow_symlinks=False)
        except FileNotFoundError:
            raise ModelNotFound(name) from None
        if what := what_instead(status.st_mode):
            raise NotAModel(name, what)
        return model_at(name, status)

    @contextmanager
    def parent_of(self, name: str, *, create: bool = False) -> Iterator[tuple[int, str]]:
        """Open the folder a name lies in, one part at a time and following no link; yield it and the name's last part.

        Whatever is done relative to that descriptor stays inside the model folder, even if somebody swaps a folder for
        a link meanwhile. `create` makes missing folders. Raises InvalidModelName, NotAModel, ModelNotFound.
        """
        *folders, leaf = parts_of(name)
        with contextlib.ExitStack() as opened:
            folder = _open_folder(self.root, None, opened)
            device = os.fstat(folder).st_dev
            for part in folders:
                if create:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(part, dir_fd=folder)
                folder = _enter(folder, part, name, opened)
                if os.fstat(folder).st_dev != device:
                    raise NotAModel(name, "on another file system, mounted below the model folder")
            yield folder, leaf

    def _create_identity(self) -> None:
        """Write the identity once, whole, whoever else starts at the same moment."""
        if self._identity_file.exists():
            return
        draft = self._identity_file.with_suffix(f".{secrets.token_hex(8)}")
        with contextlib.ExitStack() as opened:
            folder = _open_folder(self.store_dir, None, opened)
            with draft.open("x") as file:
                file.write(json.dumps({"id": secrets.token_hex(16), "created_at": datetime.now(UTC).isoformat()}))
                file.flush()
                os.fsync(file.fileno())
            try:
                rename_without_replacing(
                    draft.name, self._identity_file.name, source_folder=folder, target_folder=folder
                )
                os.fsync(folder)
            except FileExistsError:
                draft.unlink()

    def _read_identity(self) -> str | None:
        """What it says; None when it is not there. Raises StoreUnavailable when it says nothing."""
        try:
            return str(json.loads(self._identity_file.read_text())["id"])
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError):
            reason = f"{self._identity_file} is damaged; if this is the right folder, delete that file and start again"
            raise StoreUnavailable(reason) from None


@contextmanager
def explaining_refusals() -> Iterator[None]:
    """Turn the file system's refusal to change anything into StoreReadOnly or StoreFull."""
    try:
        yield
    except OSError as exc:
        if exc.errno in READ_ONLY_ERRORS:
            raise StoreReadOnly(exc.strerror or str(exc)) from exc
        if exc.errno in FULL_ERRORS:
            raise StoreFull(exc.strerror or str(exc)) from exc
        raise


def _enter(folder: int, part: str, name: str, opened: contextlib.ExitStack) -> int:
    try:
        return _open_folder(part, folder, opened)
    except FileNotFoundError:
        raise ModelNotFound(name) from None
    except OSError as exc:
        if exc.errno not in {errno.ENOTDIR, errno.ELOOP}:
            raise
        if what := what_instead(os.stat(part, dir_fd=folder, follow_symlinks=False).st_mode):
            raise NotAModel(name, f"reached through {what}") from None
        raise ModelNotFound(name) from None


def _open_folder(path: Path | str, inside: int | None, opened: contextlib.ExitStack) -> int:
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | (os.O_NOFOLLOW if inside is not None else 0)
    descriptor = os.open(path, flags, dir_fd=inside)
    opened.callback(os.close, descriptor)
    return descriptor
