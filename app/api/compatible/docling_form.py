"""The form of `POST /v1/convert/file`: one file in the field `files`, and options, of which most have no effect."""

from collections.abc import AsyncIterator

from python_multipart.multipart import parse_options_header

from app.api.http.request_errors import UnsupportedForm
from app.api.images.form_parts import FormParts, Part

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
        self._sink: bytearray | None = None
        self._field = ""
        self._file = bytearray()
        self._has_file = False
        media_type, parameters = parse_options_header(content_type)
        if media_type != b"multipart/form-data" or not parameters.get(b"boundary"):
            raise UnsupportedForm("its content type is not multipart/form-data with a boundary", FILE_FIELD)
        self._parts = FormParts(
            parameters[b"boundary"],
            FILE_FIELD,
            on_head=self._on_head,
            on_data=self._on_data,
            on_end=self._on_end,
        )

    async def image(self, chunks: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
        """Yield the bytes of the file, and b"" at the end. Raises UnsupportedForm."""
        besides = 0
        async for chunk in chunks:
            self._parts.write(chunk)
            besides += len(chunk) - len(self._file)
            if besides > MAX_FORM_BYTES:
                raise UnsupportedForm(f"it has more than {MAX_FORM_BYTES} bytes besides its file", FILE_FIELD)
            if self._file:
                yield bytes(self._file)
                self._file.clear()
        if not self._parts.is_complete:
            raise UnsupportedForm("it ends early", FILE_FIELD)
        if not self._has_file:
            raise UnsupportedForm("it has no file", FILE_FIELD)
        yield b""

    def _on_head(self, part: Part) -> None:
        self._field = part.field
        if part.field != FILE_FIELD:
            self._sink = bytearray()
            return
        if self._has_file:
            raise UnsupportedForm("it has more than one file", FILE_FIELD)
        self._has_file, self._sink = True, None
        self.file_name = part.file_name or None

    def _on_data(self, data: bytes) -> None:
        sink = self._file if self._sink is None else self._sink
        sink += data

    def _on_end(self) -> None:
        if self._sink is not None and self._field in self._wanted:
            self.values.setdefault(self._field, []).append(self._sink.decode(errors="replace").strip())
