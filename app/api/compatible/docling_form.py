"""The form of `POST /v1/convert/file`: one file in the field `files`, and options, of which most have no effect."""

from collections.abc import AsyncIterator
from typing import Any

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.http.request_errors import UnsupportedForm

FILE_FIELD = "files"
MAX_FORM_BYTES = 1 << 16
"""How many bytes a form may have besides its file."""


class DoclingForm:
    """A form that is parsed while it arrives. Its file is never whole in memory."""

    def __init__(self, content_type: str, wanted: frozenset[str]) -> None:
        """`wanted` has the names of the fields whose values are kept. Raises UnsupportedForm."""
        self.values: dict[str, list[str]] = {}
        """The values of each wanted field. They are complete once `image` has ended."""
        self.file_name: str | None = None
        self._wanted = wanted
        self._headers: dict[str, str] = {}
        self._name, self._value = b"", b""
        self._sink: bytearray | None = None
        self._field = ""
        self._file = bytearray()
        self._has_file = self._is_over = False
        media_type, parameters = parse_options_header(content_type)
        if media_type != b"multipart/form-data" or not parameters.get(b"boundary"):
            raise UnsupportedForm("its content type is not multipart/form-data with a boundary", FILE_FIELD)
        callbacks: Any = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": self._on_part_data,
            "on_part_end": self._on_part_end,
            "on_end": self._on_end,
        }
        try:
            self._parser = MultipartParser(parameters[b"boundary"], callbacks)
        except FormParserError as exc:
            raise UnsupportedForm(f"its boundary cannot be used ({exc})", FILE_FIELD) from exc

    async def image(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the bytes of the file, and b"" at the end. Raises UnsupportedForm."""
        besides = 0
        async for chunk in chunks:
            try:
                self._parser.write(chunk)
            except (MultipartParseError, FormParserError) as exc:
                raise UnsupportedForm(f"it is broken ({exc})", FILE_FIELD) from exc
            besides += len(chunk) - len(self._file)
            if besides > MAX_FORM_BYTES:
                raise UnsupportedForm(f"it has more than {MAX_FORM_BYTES} bytes besides its file", FILE_FIELD)
            if self._file:
                yield bytes(self._file)
                self._file.clear()
        if not self._is_over:
            raise UnsupportedForm("it ends early", FILE_FIELD)
        if not self._has_file:
            raise UnsupportedForm("it has no file", FILE_FIELD)
        yield b""

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._headers.get("content-disposition", ""))
        self._field = parameters.get(b"name", b"").decode(errors="replace")
        if self._field != FILE_FIELD:
            self._sink = bytearray()
            return
        if self._has_file:
            raise UnsupportedForm("it has more than one file", FILE_FIELD)
        self._has_file, self._sink = True, None
        self.file_name = parameters.get(b"filename", b"").decode(errors="replace") or None

    def _on_part_data(self, data: bytes, start: int, end: int) -> None:
        sink = self._file if self._sink is None else self._sink
        sink += data[start:end]

    def _on_part_end(self) -> None:
        if self._sink is not None and self._field in self._wanted:
            self.values.setdefault(self._field, []).append(self._sink.decode(errors="replace").strip())

    def _on_end(self) -> None:
        self._is_over = True
