"""Translates the errors of a volume's file system: every error number becomes a StoreError that names the cause."""

import errno
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from app.errors import StoreDenied, StoreError, StoreFull, StoreReadOnly, StoreUnavailable
from app.errors.exhaustion import EXHAUSTED
from app.store.inventory import STORE_DIR

DENIED_ERRORS = {errno.EACCES, errno.EPERM}
UNWRITABLE_ERRORS = {errno.EROFS, *DENIED_ERRORS}
FULL_ERRORS = {errno.ENOSPC, errno.EDQUOT}
REPLACED_ERRORS = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP}
UNKNOWN_OUTCOME_ERRORS = {
    errno.EINTR,
    errno.EIO,
    errno.ESTALE,
    errno.ENOTCONN,
    errno.ECONNABORTED,
    errno.ECONNREFUSED,
    errno.ECONNRESET,
    errno.EHOSTDOWN,
    errno.EHOSTUNREACH,
    errno.ENETDOWN,
    errno.ENETUNREACH,
    errno.EPIPE,
    errno.ENODEV,
    errno.ENXIO,
    errno.EPROTO,
    errno.EREMOTEIO,
    errno.ESHUTDOWN,
    errno.ETIMEDOUT,
}
"""The error numbers after which a rename or an unlink may have been made nevertheless: the disk failed, or the server's
answer was lost."""


@contextmanager
def explaining_refusals() -> Iterator[None]:
    """Translate OSError into a StoreError that names the cause.

    Raises StoreReadOnly, StoreDenied, StoreFull or StoreUnavailable in place of OSError. FileNotFoundError,
    FileExistsError and NotADirectoryError are not translated, because they concern a model's name and not the volume,
    unless a part of `.store/` is missing.
    """
    try:
        yield
    except (FileNotFoundError, FileExistsError, NotADirectoryError) as exc:
        if not isinstance(exc, FileExistsError) and f"/{STORE_DIR}/" in (_path_in(exc) or ""):
            raise refusal_of(exc) from exc
        raise
    except OSError as exc:
        raise refusal_of(exc) from exc


def refusal_of(exc: OSError) -> StoreError:
    """Return the StoreError for any OSError of the volume."""
    text = ": ".join(str(part) for part in (_path_in(exc), exc.strerror or exc) if part)
    if exc.errno == errno.EROFS:
        return StoreReadOnly(text)
    if exc.errno in DENIED_ERRORS:
        return StoreDenied(f"{text}{_rights_at(exc)}")
    if exc.errno in FULL_ERRORS:
        return StoreFull(exc.strerror or str(exc))
    if exc.errno in EXHAUSTED:
        return StoreUnavailable(f"{EXHAUSTED[exc.errno]} ({exc.strerror}); try again in a moment")
    if exc.errno in REPLACED_ERRORS:
        hint = f"a part of {STORE_DIR} was removed, or something else is in its place. Remove what is there, try again"
        return StoreUnavailable(f"'{text}': {hint}")
    return StoreUnavailable(f"its file system answered '{text}'; list the models to see what was done")


def _path_in(exc: OSError) -> str | None:
    """Return the path that the error names; None if the error names no path, or only a file descriptor."""
    return None if exc.filename is None or isinstance(exc.filename, int) else os.fsdecode(exc.filename)


def _rights_at(exc: OSError) -> str:
    """Return a text with the owner and the mode of a file, and the user of this process.

    If the file is missing, owner and mode are those of its folder.
    """
    path = _path_in(exc)
    told = f" (this process runs as {_user(os.geteuid())})"
    if path is None or not Path(path).is_absolute():
        return told
    for place in (Path(path), Path(path).parent):
        with suppress(OSError):
            status = place.lstat()
            return f" ({place} belongs to {_user(status.st_uid)}, its mode is {status.st_mode & 0o7777:04o};{told[2:]}"
    return told


def _user(uid: int) -> str:
    with suppress(KeyError):  # in a container, users often have a number and no name
        return f"uid {uid} ({pwd.getpwuid(uid).pw_name})"
    return f"uid {uid}"
