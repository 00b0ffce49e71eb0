"""Checks how the directories (IFDs) of a TIFF refer to each other, before a library follows them.

A directory names the next directory and its sub-directories by offset, so a file of a few bytes can hold an endless
loop. Pillow detects the loop; the vendor's library follows it and allocates 75 MB of memory a second.
"""

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from app.errors import ImageTooLarge, UnreadableImage

MAX_DIRECTORIES = 10_000
"""How many directories a reader may meet that follows every reference. A directory that is referred to twice counts
twice."""
MAX_REFERENCES = 1_000
"""How many sub-directories one directory may name."""
SUB_DIRECTORIES = {330, 34665, 34853, 40965}
"""The tags whose values are offsets of directories: SubIFDs, Exif, GPS and interoperability."""
SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""The size in bytes of one value, by the number of the value's type."""
INTEGERS = {3: "H", 4: "I", 13: "I", 16: "Q", 18: "Q"}
"""By TIFF's number of a type, the `struct` code of the types whose values can be offsets: SHORT, LONG, IFD, LONG8,
IFD8."""


@dataclass(frozen=True, slots=True)
class Layout:
    """How TIFF or BigTIFF writes a directory."""

    count: str
    entry: str
    offset: str
    inline_bytes: int


CLASSIC = Layout("H", "HHI4s", "I", 4)
BIG = Layout("Q", "HHQ8s", "Q", 8)


def check_directories(path: Path) -> None:
    """Raise UnreadableImage if a TIFF's directories form a loop or state impossible counts, ImageTooLarge if too many.

    Like readers of TIFF, ignores references beyond the end of the file. The file must be a TIFF.
    """
    with path.open("rb") as file:
        reader = _Reader(file)
        reader.check()


class _Reader:
    """Reads the directories of one file and follows every reference once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size_bytes = os.fstat(file.fileno()).st_size
        head = file.read(16)
        self._order = ">" if head[:2] == b"MM" else "<"
        version = self._unpack("H", head[2:4])
        self._layout = BIG if version == 43 else CLASSIC  # noqa: PLR2004 - TIFF's own numbers
        at = 8 if self._layout is BIG else 4
        self._first = self._unpack(self._layout.offset, head[at : at + self._layout.inline_bytes])
        self._met: dict[int, int | None] = {}
        """By the offset of a directory, how many directories a reader meets from there on; None while the directory's
        references are being followed."""

    def check(self) -> None:
        """Follow every reference from the first directory on, depth first. Raises UnreadableImage and ImageTooLarge."""
        path = [(self._first, iter(self._references(self._first)))] if self._first else []
        for offset, _ in path:
            self._met[offset] = None
        children: list[list[int]] = [[] for _ in path]
        while path:
            offset, references = path[-1]
            for reference in references:
                if reference in self._met:
                    if self._met[reference] is None:
                        raise UnreadableImage(
                            f"its directories form a loop: one of them leads back to byte {reference}"
                        )
                    children[-1].append(reference)
                    continue
                self._met[reference] = None
                children[-1].append(reference)
                path.append((reference, iter(self._references(reference))))
                children.append([])
                break
            else:
                total = 1 + sum(self._met[child] or 0 for child in children.pop())
                self._met[offset] = total
                path.pop()
                self._require_few(total)
            self._require_few(len(self._met))

    def _references(self, offset: int) -> list[int]:
        """Return the offsets that the directory at `offset` refers to: its sub-directories and the next directory."""
        layout = self._layout
        self._file.seek(offset)
        size = struct.calcsize("<" + layout.count)
        head = self._file.read(size)
        if len(head) < size:
            return []
        count = min(self._unpack(layout.count, head), 1 << 16)
        entry = struct.Struct(self._order + layout.entry)
        entries = self._file.read(count * entry.size)
        next_bytes = self._file.read(layout.inline_bytes)
        found = []
        for tag, kind, values, inline in entry.iter_unpack(entries[: len(entries) // entry.size * entry.size]):
            if values * SIZES.get(kind, 0) > self._size_bytes:
                raise UnreadableImage(f"a directory states {values} values of tag {tag}, more than the file can hold")
            if tag in SUB_DIRECTORIES and kind in INTEGERS:
                found += self._offsets(kind, values, inline)
        if len(next_bytes) == layout.inline_bytes:
            found.append(self._unpack(layout.offset, next_bytes))
        return [each for each in found if each]

    def _offsets(self, kind: int, count: int, inline: bytes) -> list[int]:
        if count > MAX_REFERENCES:
            raise ImageTooLarge(f"a directory with {count} sub-directories", f"{MAX_REFERENCES} of one directory")
        values = struct.Struct(f"{self._order}{count}{INTEGERS[kind]}")
        if values.size > len(inline):
            self._file.seek(self._unpack(self._layout.offset, inline))
            inline = self._file.read(values.size)
        return list(values.unpack(inline[: values.size])) if len(inline) >= values.size else []

    def _unpack(self, kind: str, data: bytes) -> int:
        try:
            return int(struct.unpack(self._order + kind, data)[0])
        except struct.error:
            raise UnreadableImage("its header ends early") from None

    @staticmethod
    def _require_few(count: int) -> None:
        if count > MAX_DIRECTORIES:
            raise ImageTooLarge(f"more than {MAX_DIRECTORIES} directories", f"{MAX_DIRECTORIES} directories of a TIFF")
