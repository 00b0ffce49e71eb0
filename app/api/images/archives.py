"""ZIP archives in jobs: each file of an archive becomes a file of the job.

The bounds do not rely on what an archive states about itself: its bytes are counted while they are unpacked. The
standard `zipfile` reads the directory of an archive at once, so the directory is bounded too.
"""

import contextlib
import errno
import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from app.api.http.request_errors import UnsupportedArchive
from app.api.images.received import MAX_NAME_CHARS
from app.engine.contract.archive_members import ZIP_SIGNATURES, is_document, is_hidden

CHUNK_BYTES = 1 << 20
DIRECTORY_BYTES, DIRECTORY_BYTES_A_FILE = 2 << 20, 600
"""How many bytes an archive's directory may have, and for each file that the job may have."""
MAX_RATIO = 100
"""How many times the bytes of an archive its files may have, beside one file of the largest size. Images have less."""
SMALLER = "Make the file smaller, or leave it out"
FEWER = "Send its files in several jobs"
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
"""The methods of compression that are read. The others take more memory, and hardly any program uses them."""
BROKEN = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    struct.error,
    ValueError,
    IndexError,
    NotImplementedError,
    RuntimeError,
)
"""What `zipfile` raises for a broken archive."""


END_BYTES = 22
"""The bytes of the record at the end of an archive, without the archive's comment."""
MANY = 0xFFFF
"""The number of members in that record if there are more, which another record then states."""


@dataclass(frozen=True, slots=True)
class ArchiveLimits:
    """How much of an archive is unpacked."""

    max_file_bytes: int
    most_files: int


class DamagedArchive(Exception):
    """The directory of an archive cannot be read, so that its files are not known."""


class Archive:
    """An open archive. The methods block."""

    def __init__(self, opened: zipfile.ZipFile, name: str | None, limits: ArchiveLimits, most_bytes: int) -> None:
        """Use `open_archive`."""
        self._opened = opened
        self._name = name
        self._limits = limits
        self._rest = most_bytes
        # Not `is_dir`, which fails for an empty name.
        members = [each for each in opened.infolist() if not each.filename.endswith("/")]
        self.is_document = is_document(each.filename for each in members)
        """True for an Office document, an e-book or a program, which is one file and no collection of files."""
        self.members = [each for each in members if not is_hidden(each.filename)]
        """The files of the archive, without folders and without hidden files."""

    def unpack(self, number: int, path: Path, require_space: Callable[[], object]) -> str | None:
        """Unpack a file of the archive. Return why it cannot be read, in which case there is no file; None if it can.

        `require_space` is called before bytes are written. Raises UnsupportedArchive if the archive is beyond a limit,
        what `require_space` raises, and OSError.
        """
        member = self.members[number]
        if member.flag_bits & 1:
            return "it is encrypted in the ZIP archive; send it unencrypted"
        if member.compress_type not in METHODS:
            return "it is compressed in the ZIP archive by another method than deflate; send it uncompressed"
        chunks, size = self._chunks(member), 0
        with path.open("xb") as file:
            try:
                while chunk := next(chunks, b""):
                    size += len(chunk)
                    self._check(member, size, len(chunk))
                    require_space()
                    file.write(chunk)
            except DamagedArchive:
                path.unlink()
                return "it is damaged in the ZIP archive"
        return None

    def _check(self, member: zipfile.ZipInfo, size: int, more: int) -> None:
        self._rest -= more
        if size > (most := self._limits.max_file_bytes):
            raise UnsupportedArchive(
                self._name, f"{name_of(member)!r} has more than {most} bytes (OCR_MAX_IMAGE_BYTES)", SMALLER
            )
        if self._rest < 0:
            raise UnsupportedArchive(self._name, f"its files have more than {MAX_RATIO} times its bytes")

    def _chunks(self, member: zipfile.ZipInfo) -> Iterator[bytes]:
        try:
            with self._opened.open(member) as source:
                while chunk := source.read(CHUNK_BYTES):
                    yield chunk
        except BROKEN as exc:
            raise DamagedArchive from exc


class _BoundedFile(io.BufferedReader):
    """A file of which only so much may be read at once."""

    def __init__(self, path: Path, most_bytes: int) -> None:
        super().__init__(io.FileIO(path))
        self._most_bytes = most_bytes

    def read(self, size: int | None = -1, /) -> bytes:
        """Read as any file does. Raises _TooMuch if that is more than the limit."""
        if size is None or size < 0:
            size = max(0, os.fstat(self.fileno()).st_size - self.tell())
        if size > self._most_bytes:
            raise _TooMuch(f"its directory has more than {self._most_bytes} bytes, as of too many files")
        return super().read(size)


class _TooMuch(Exception):
    """More bytes are to be read at once than are allowed."""


def is_archive(path: Path) -> bool:
    """Return True if a file begins as a ZIP archive does. Blocks; raises OSError."""
    with path.open("rb") as file:
        return file.read(4) in ZIP_SIGNATURES


@contextmanager
def open_archive(path: Path, name: str | None, limits: ArchiveLimits) -> Iterator[Archive]:
    """Open an archive. `name` is that of its file, for messages.

    Blocks; raises DamagedArchive, UnsupportedArchive if the directory of the archive is too large, and OSError.
    """
    most_bytes = max(CHUNK_BYTES, DIRECTORY_BYTES + DIRECTORY_BYTES_A_FILE * limits.most_files)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(_BoundedFile(path, most_bytes))
        try:
            opened = stack.enter_context(zipfile.ZipFile(file))
        except BROKEN as exc:
            raise DamagedArchive from exc
        except OSError as exc:
            if exc.errno != errno.EINVAL:  # the archive names a place before the file's beginning
                raise
            raise DamagedArchive from exc
        except _TooMuch as exc:
            raise UnsupportedArchive(name, str(exc), FEWER) from exc
        members = opened.infolist()
        if _stated_members(path, opened) not in {len(members), MANY} or any(each.header_offset < 0 for each in members):
            raise DamagedArchive  # otherwise files after a damaged entry of the directory would be lost silently
        yield Archive(opened, name, limits, MAX_RATIO * path.stat().st_size + limits.max_file_bytes)


def _stated_members(path: Path, opened: zipfile.ZipFile) -> int:
    """Return the number of members in the end record of an archive.

    MANY if that record says that another record has the number, or if it is not at the end of the file.
    """
    with path.open("rb") as file:
        file.seek(-END_BYTES - len(opened.comment), os.SEEK_END)
        end = file.read(END_BYTES)
    return int.from_bytes(end[10:12], "little") if end.startswith(b"PK\5\6") else MANY


def name_of(member: zipfile.ZipInfo) -> str:
    """Return the name of a file in an archive, with folders, as text to show; it is never a path on the disk."""
    return "".join(each if each.isprintable() else "\N{REPLACEMENT CHARACTER}" for each in member.filename)[
        :MAX_NAME_CHARS
    ]
