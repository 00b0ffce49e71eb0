"""Adds entries to a file of keys, which is replaced as a whole, so that no service ever reads a half-written one."""

import contextlib
import fcntl
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from app.api.http.keys import Keyring
from app.errors import ServiceError

MODE = 0o600


def add_entry(path: Path, name: str, entry: str) -> None:
    """Add an entry to a file of keys. Creates the file with the mode 0600, and its folder, if they are missing.

    An existing file keeps its mode and its text, with any comments. Two commands at once both add theirs. Raises
    ServiceError if the file has a key of that name or cannot be written, and KeysError if it is not a file of keys.
    """
    with _naming(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        target = path.resolve()  # a link stays a link
        with _locked(target.parent):
            before = target.read_text() if target.exists() else ""
            if before.strip() and any(key.name == name for key in Keyring.load(target).keys):
                raise ServiceError(f"{path} has a key of the name {name!r} already. Choose another name.")
            separator = "" if not before else "\n" if before.endswith("\n") else "\n\n"
            _replace(target, before + separator + entry)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Turn errors of the disk into a sentence that names the file: they are not errors of the model folder."""
    try:
        yield
    except OSError as exc:
        raise ServiceError(f"The file of keys {path} cannot be written: {exc.strerror or exc}.") from None


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold a lock that other commands on files of this folder wait for."""
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(opened, fcntl.LOCK_EX)
        yield
    finally:
        os.close(opened)


def _replace(path: Path, text: str) -> None:
    """Write the text to another file, give that the mode and the owner of the file at `path`, and rename it."""
    former = path.stat() if path.exists() else None
    descriptor, draft = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with open(descriptor, "w") as file:  # noqa: PTH123 - an open descriptor
            file.write(text)
            file.flush()
            os.fchmod(descriptor, stat.S_IMODE(former.st_mode) if former else MODE)
            if former:
                with contextlib.suppress(PermissionError):  # only root may give files away
                    os.fchown(descriptor, former.st_uid, former.st_gid)
            os.fsync(descriptor)
        Path(draft).replace(path)
    except BaseException:
        Path(draft).unlink(missing_ok=True)
        raise
