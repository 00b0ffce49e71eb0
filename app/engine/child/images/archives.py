"""Unpacks ZIP archives of images, within bounds that do not rely on what an archive states about itself."""

import zipfile
from dataclasses import dataclass
from pathlib import Path

from app.engine.contract.archive_members import is_document, is_hidden
from app.engine.contract.image_formats import FORMAT_NAMES
from app.errors import ImageTooLarge, UnreadableImage, UnsupportedImage

MAX_ENTRIES = 1_000
"""The most files of an archive."""
MAX_UNPACKED_BYTES = 256 << 20
"""The most bytes that all files of an archive may have together."""
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Entry:
    """One unpacked file of an archive."""

    name: str
    """The name of the file in the archive, with folders."""
    path: Path
    """The path of the unpacked file, which has a name of its own on the disk."""


def unpack(archive: Path) -> list[Entry]:
    """Unpack the files of a ZIP archive into the archive's folder; return them in the order of the archive.

    Raises ImageError, OSError of the disk, and what `zipfile` raises for a broken archive.
    """
    entries, rest = [], MAX_UNPACKED_BYTES
    with zipfile.ZipFile(archive) as opened:
        listed = [each for each in opened.infolist() if not each.is_dir()]
        if is_document(each.filename for each in listed):
            raise UnsupportedImage("an Office document, an e-book or a program (send a PDF of it)", FORMAT_NAMES)
        listed = [each for each in listed if not is_hidden(each.filename)]
        if len(listed) > MAX_ENTRIES:
            raise ImageTooLarge(f"{len(listed)} files", f"{MAX_ENTRIES} files in a ZIP archive")
        for number, info in enumerate(listed):
            if info.flag_bits & 1:
                raise UnreadableImage(f"{info.filename!r:.100} in the ZIP archive is encrypted; send it unencrypted")
            entry = Entry(info.filename, archive.with_name(f"entry-{number}"))
            rest -= _write(opened, info, entry.path, rest)
            entries.append(entry)
    return entries


def _write(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path, most_bytes: int) -> int:
    """Unpack one file; return its real size in bytes. Raises ImageTooLarge if that is more than `most_bytes`."""
    size = 0
    with archive.open(info) as source, path.open("wb") as file:
        while chunk := source.read(CHUNK_BYTES):
            size += len(chunk)
            if size > most_bytes:
                raise ImageTooLarge("files of more bytes", f"{MAX_UNPACKED_BYTES} bytes unpacked from a ZIP archive")
            file.write(chunk)
    return size
