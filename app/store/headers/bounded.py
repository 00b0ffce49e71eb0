"""Reads a file's header within bounds of bytes, steps and text, even if the header claims more."""

import os
from struct import Struct
from typing import BinaryIO

MAX_READ_BYTES = 64 * 1024 * 1024
"""The most bytes that are read of one header. A tokenizer of 262,144 tokens with its merges takes some 15 MB."""
MAX_STEPS = 2_000_000
"""The most work for one header, in steps; to skip a string is one step. The largest tokenizers have 800,000 tokens and
merges, so that many steps."""
MAX_TEXT = 200
"""The most characters of a header's text that are kept."""
MAX_SIZE = 2**63 - 1
"""The largest number of elements or bytes that a header may state: the largest signed integer of 64 bits."""
FIRST_READ_BYTES = 4096
WINDOW_BYTES = 256 * 1024

Fact = str | int | bool | None
Facts = dict[str, Fact]


class BadHeader(Exception):
    """A header is truncated, corrupt, or beyond the bounds.

    `str()` says what is wrong, as a clause without a full stop.
    """


class BeyondBounds(BadHeader):
    """A header is too large, too new or too unusual for this reader; the file may still be intact."""


class HeaderReader:
    """Reads and skips forward in a file. Raises BadHeader if a read or skip would pass the file's end.

    After each jump the reader reads 4 KiB. Each read that continues the previous read is twice as large, up to 256 KiB.
    So few reads suffice both for a header of many strings and for a header that is scattered among tensors. Raises
    OSError.
    """

    def __init__(self, file: int | BinaryIO, size_bytes: int) -> None:
        self.position = 0
        self.size_bytes = size_bytes
        self._file = file
        self._window = b""
        self._window_start = 0
        self._ahead = FIRST_READ_BYTES
        self._bytes_left = MAX_READ_BYTES
        self._steps_left = MAX_STEPS

    def step(self, count: int = 1) -> None:
        """Count steps of work. Raises BeyondBounds when the header needs more than MAX_STEPS."""
        self._steps_left -= count
        if self._steps_left < 0:
            raise BeyondBounds("its header lists more than this service reads")

    def window(self, at_least: int) -> tuple[bytes, int]:
        """Return a buffer and the index of the present position in it.

        At least `at_least` bytes of the file follow the index in the buffer. Raises BadHeader if the file is too short.
        """
        index = self.position - self._window_start
        if index < 0 or index + at_least > len(self._window):
            self._refill(at_least)
            index = 0
        return self._window, index

    def take(self, count: int) -> bytes:
        """Read the next `count` bytes."""
        window, index = self.window(count)
        self.position += count
        return window[index : index + count]

    def number(self, code: Struct) -> int:
        """Read the next integer. `code` is a `struct` of one integer."""
        window, index = self.window(code.size)
        self.position += code.size
        number: int = code.unpack_from(window, index)[0]
        return number

    def varint(self) -> int:
        """Read the next number of up to 64 bits in protobuf's variable length: 7 bits a byte, the lowest first."""
        number = 0
        for shift in range(0, 70, 7):
            window, index = self.window(1)
            byte = window[index]
            self.position += 1
            number |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that says another byte follows
                return number & 0xFFFF_FFFF_FFFF_FFFF
        raise BadHeader("a number in its header never ends")

    def skip(self, count: int) -> None:
        """Skip this many bytes without reading them."""
        if self.position + count > self.size_bytes:
            raise self.ended()
        self.position += count

    def text(self, length: int) -> str:
        """Read the beginning of a text of `length` bytes, and skip the rest. Return the beginning, made printable."""
        if self.position + length > self.size_bytes:
            raise self.ended()
        kept = min(length, 4 * MAX_TEXT + 4)  # no UTF-8 character is longer than 4 bytes
        text = shown(self.take(kept).decode(errors="replace"))
        self.skip(length - kept)
        return text

    def ended(self) -> BadHeader:
        """Return the error for a file that ends inside its header."""
        return BadHeader(f"the file ends inside its header, after {self.size_bytes:,} bytes")

    def _refill(self, at_least: int) -> None:
        if self.position + at_least > self.size_bytes:
            raise self.ended()
        reads_on = 0 <= self.position - self._window_start <= len(self._window)
        self._ahead = min(2 * self._ahead, WINDOW_BYTES) if reads_on else FIRST_READ_BYTES
        count = min(max(self._ahead, at_least), self.size_bytes - self.position)
        if count > self._bytes_left:
            raise BeyondBounds(f"its header is larger than the {MAX_READ_BYTES:,} bytes that this service reads")
        self._bytes_left -= count
        self._window, self._window_start = self._read(count), self.position
        if len(self._window) < at_least:  # the file was truncated after its size was read
            raise BadHeader(f"the file ends inside its header, after {self.position + len(self._window):,} bytes")

    def _read(self, count: int) -> bytes:
        if isinstance(self._file, int):
            return os.pread(self._file, count, self.position)
        self._file.seek(self.position)
        return self._file.read(count)


def shown(text: str) -> str:
    """Make a text of a header safe for JSON, logs and terminals: escape unprintable characters, cut to MAX_TEXT."""
    printable = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[: MAX_TEXT + 1]
    )
    return printable if len(printable) <= MAX_TEXT else printable[: MAX_TEXT - 1] + "…"
