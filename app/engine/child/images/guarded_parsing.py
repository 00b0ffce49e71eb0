"""Turns any exception that a parser raises for hostile bytes into an error about the image."""

import errno
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from PIL import UnidentifiedImageError

from app.errors import ImageError, ImageTooLarge, UnreadableImage

DISK_ERRORS = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS}
"""The error numbers of a disk that cannot be written. An OSError with one of these is not an error about the image."""


@contextmanager
def refusing(what: str) -> Iterator[None]:
    """Raise UnreadableImage for any exception of a parser: hostile bytes can make a parser raise any exception."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # parsers warn about what viewers show in spite of it
            yield
    except ImageError:
        raise
    except UnidentifiedImageError as exc:
        raise UnreadableImage(what) from exc  # its text is the path of a file of this service
    except MemoryError as exc:
        raise ImageTooLarge("a page that does not fit into the engine's memory", "the memory that it can get") from exc
    except Exception as exc:
        if isinstance(exc, OSError) and exc.errno in DISK_ERRORS:
            raise
        traceback.print_exc()  # to the log, because the exception may be a defect of the checks
        raise UnreadableImage(f"{what} ({_shown(exc)})") from exc


def _shown(exc: BaseException) -> str:
    return f"{type(exc).__name__}: {exc}"[:200]
