"""Reading a file's header within bounds: so many bytes, so many steps, so much text, whatever the header says."""

import os
from struct import Struct
from typing import BinaryIO

MAX_READ_BYTES = 64 * 1024 * 1024
"""Of one header. A tokenizer of 262,144 tokens with its merges takes some 15 MB."""
MAX_STEPS = 2_000_000
"""Of one header; a step is what skipping one string takes. The largest tokenizers have 800,000 tokens and merges."""
MAX_TEXT = 200
"""Characters that are kept of any text."""
FIRST_READ_BYTES = 4096
WINDOW_BYTES = 256 * 1024

Fact = str | int | bool | None
Facts = dict[str, Fact]


class BadHeader(Exception):
    """The header is truncated, corrupt, or beyond the bounds; `str()` says how, as a clause without a full stop."""


class BeyondBounds(BadHeader):
    """The header may be sound: it is larger, newer or stranger than what is read here."""


class HeaderReader:
    """A position in a file, moved by reading and skipping. Whatever would lead past the file's end raises BadHeader.

    Reads 4 KiB after each jump and twice as much each time it reads on, up to 256 KiB, so that neither a header of
    many strings nor one scattered among tensors costs more reads than it must. OSError is let through.
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
        """Ask for leave to do so much more work; raises BadHeader when the header has had its share."""
        self._steps_left -= count
        if self._steps_left < 0:
            raise BeyondBounds("its header lists more than is read of one")

    def window(self, at_least: int) -> tuple[bytes, int]:
        """What is read ahead, and the index in it of the position, from which so many bytes are there at least."""
        index = self.position - self._window_start
        if index < 0 or index + at_least > len(self._window):
            self._refill(at_least)
            index = 0
        return self._window, index

    def take(self, count: int) -> bytes:
        """The next bytes."""
        window, index = self.window(count)
        self.position += count
        return window[index : index + count]

    def number(self, code: Struct) -> int:
        """The next number of that code, which is to be one of an integer."""
        window, index = self.window(code.size)
        self.position += code.size
        number: int = code.unpack_from(window, index)[0]
        return number

    def varint(self) -> int:
        """The next number of up to 64 bits in protobuf's variable length, 7 bits to the byte, the lowest first."""
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
        """Leave out so many bytes, which are not read."""
        if self.position + count > self.size_bytes:
            raise self.ended()
        self.position += count

    def text(self, length: int) -> str:
        """The next so many bytes as text that is fit to be shown, of which only the beginning is read."""
        if self.position + length > self.size_bytes:
            raise self.ended()
        kept = min(length, 4 * MAX_TEXT + 4)  # no UTF-8 character is longer than 4 bytes
        text = shown(self.take(kept).decode(errors="replace"))
        self.skip(length - kept)
        return text

    def ended(self) -> BadHeader:
        """What to raise when the header goes on past the end of the file."""
        return BadHeader(f"the file ends inside its header, after {self.size_bytes:,} bytes")

    def _refill(self, at_least: int) -> None:
        if self.position + at_least > self.size_bytes:
            raise self.ended()
        reads_on = 0 <= self.position - self._window_start <= len(self._window)
        self._ahead = min(2 * self._ahead, WINDOW_BYTES) if reads_on else FIRST_READ_BYTES
        count = min(max(self._ahead, at_least), self.size_bytes - self.position)
        if count > self._bytes_left:
            raise BeyondBounds(f"its header is larger than the {MAX_READ_BYTES:,} bytes that are read of one")
        self._bytes_left -= count
        self._window, self._window_start = self._read(count), self.position
        if len(self._window) < at_least:  # it has been cut since its size was asked for
            raise BadHeader(f"the file ends inside its header, after {self.position + len(self._window):,} bytes")

    def _read(self, count: int) -> bytes:
        if isinstance(self._file, int):
            return os.pread(self._file, count, self.position)
        self._file.seek(self.position)
        return self._file.read(count)


def shown(text: str) -> str:
    """Text that a header holds, fit for JSON, a log and a terminal: what is not printable escaped, the rest cut."""
    printable = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text[: MAX_TEXT + 1]
    )
    return printable if len(printable) <= MAX_TEXT else printable[: MAX_TEXT - 1] + "…"
