"""The parts of a form (multipart/form-data), parsed while its bytes arrive."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from python_multipart.exceptions import FormParserError, MultipartParseError
from python_multipart.multipart import MultipartParser, parse_options_header

from app.api.http.request_errors import UnsupportedForm


@dataclass(frozen=True, slots=True)
class Part:
    """The head of one part of a form."""

    field: str
    file_name: str | None
    """None if the part names no file; empty if the name is empty."""
    headers: dict[str, str]
    """By lower-case names."""


class FormParts:
    """Tells the caller of each part of a form: its head, its bytes as they arrive, and its end."""

    def __init__(
        self,
        boundary: bytes | None,
        file_field: str,
        *,
        on_head: Callable[[Part], None],
        on_data: Callable[[bytes], None],
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        """`file_field` is the field that the errors name. Raises UnsupportedForm."""
        self.is_complete = False
        self._file_field = file_field
        self._on_head = on_head
        self._headers: dict[str, str] = {}
        self._name, self._value = b"", b""
        if not boundary:
            raise UnsupportedForm("its content type names no boundary", file_field)
        callbacks: Any = {
            "on_part_begin": self._headers.clear,
            "on_header_field": self._on_header_field,
            "on_header_value": self._on_header_value,
            "on_header_end": self._on_header_end,
            "on_headers_finished": self._on_headers_finished,
            "on_part_data": lambda data, start, end: on_data(data[start:end]),
            "on_part_end": on_end,
            "on_end": self._on_complete,
        }
        try:
            self._parser = MultipartParser(boundary, callbacks)
        except FormParserError as exc:
            raise UnsupportedForm(f"its boundary cannot be used ({exc})", file_field) from exc

    def write(self, data: bytes) -> None:
        """Parse the next bytes of the form. Raises UnsupportedForm, and what the callers' functions raise."""
        try:
            self._parser.write(data)
        except (MultipartParseError, FormParserError) as exc:
            raise UnsupportedForm(f"it is broken ({exc})", self._file_field) from exc

    def _on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._name += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]

    def _on_header_end(self) -> None:
        self._headers[self._name.decode("latin-1").lower()] = self._value.decode("latin-1")
        self._name, self._value = b"", b""

    def _on_headers_finished(self) -> None:
        _, parameters = parse_options_header(self._headers.get("content-disposition", ""))
        file_name = parameters.get(b"filename")
        self._on_head(
            Part(
                parameters.get(b"name", b"").decode(errors="replace"),
                None if file_name is None else file_name.decode(errors="replace"),
                dict(self._headers),
            )
        )

    def _on_complete(self) -> None:
        self.is_complete = True
