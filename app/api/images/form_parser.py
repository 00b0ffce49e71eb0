"""Parsers that write a request's body into files: a form with images and options, or one image as it is."""

from collections.abc import Callable
from pathlib import Path
from typing import IO

from fastapi.exceptions import RequestValidationError

from app.api.http.request_errors import BodyTooLarge, UnsupportedForm
from app.api.images.form_parts import FormParts, Part
from app.api.images.options.form_fields import repeated_option, unknown_option
from app.api.images.received import MAX_NAME_CHARS, Image
from app.api.images.upload_ids import UPLOADS
from app.engine.contract.archive_members import ZIP_SIGNATURES

FILE_FIELD = "file"
EMPTY = "the body is empty; send an image or a document, a form with files in fields 'file', or JSON with URLs"
MAX_OPTION_BYTES = 8192
"""The longest value of an option in a form, in bytes."""
PLAIN_CODINGS = {"binary", "8bit", "7bit"}
"""The values of `Content-Transfer-Encoding` that mean an unencoded part. RFC 7578 deprecates the header."""
SIGNATURE_BYTES = 4
"""How many bytes of a file tell that it is a ZIP archive."""
IMAGE_LIMIT_VARIABLE = "OCR_MAX_IMAGE_BYTES"
"""The setting that limits an image, for the message of BodyTooLarge."""


class Files:
    """The files of one request, written one after another."""

    def __init__(
        self,
        path_of: Callable[[int], Path],
        max_bytes: int,
        most_files: int,
        password: str | None,
        *,
        max_archive_bytes: int | None = None,
    ) -> None:
        """`path_of` returns the path for the file with a number, counted from 0; it may refuse.

        `max_archive_bytes` limits a ZIP archive in place of `max_bytes`.
        """
        self.images: list[Image] = []
        self.max_archive_bytes = max_archive_bytes
        self.has_archives = False
        self._head = b""
        """The first bytes of the present file."""
        self.most_files = most_files
        self._path_of = path_of
        self._max_bytes = max_bytes
        self._password = password
        self._file: IO[bytes] | None = None

    def begin(self, name: str | None = None) -> None:
        """Start the file of the next image; `write` then adds to that file."""
        self.close()
        self._head = b""
        path = self._path_of(len(self.images))
        self._file = path.open("xb")
        self.images.append(Image(path, name, self._password))

    def write(self, data: bytes) -> None:
        """Add bytes to the present file. Raises BodyTooLarge."""
        assert self._file  # noqa: S101 - begin() was called
        if len(self._head) < SIGNATURE_BYTES:
            self._head += data[:SIGNATURE_BYTES]
        self._file.write(data)
        most_bytes = self._max_bytes
        if self.max_archive_bytes and self._head.startswith(ZIP_SIGNATURES):
            self.has_archives, most_bytes = True, self.max_archive_bytes
            self._path_of(len(self.images))  # an archive may be large, so the disk is looked at again
        if self._file.tell() > most_bytes:
            raise BodyTooLarge(most_bytes, IMAGE_LIMIT_VARIABLE)

    def close(self) -> None:
        """Close the present file."""
        if self._file:
            self._file.close()


class Raw:
    """A body that is one image."""

    def __init__(self, files: Files) -> None:
        self._files = files

    def write(self, data: bytes) -> None:
        """Add bytes to the image. Without any there is no image."""
        if not data:
            return
        if not self._files.images:
            self._files.begin()
        self._files.write(data)

    def finish(self) -> None:
        """Raise RequestValidationError if the body is empty. Any bytes may be the image's last."""
        if not self._files.images:
            raise RequestValidationError([{"loc": ("body",), "msg": EMPTY}])


class Fields:
    """The options of one form."""

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known
        self._read: dict[str, bytearray] = {}

    def begin(self, name: str) -> None:
        """Start the next option; `write` then adds to its value."""
        if name not in self._known:
            raise unknown_option(name, self._known)
        if name in self._read:
            raise repeated_option(name)
        self._read[name] = bytearray()

    def write(self, data: bytes) -> None:
        """Add bytes to the present option's value. Raises UnsupportedForm."""
        name, value = next(reversed(self._read.items()))
        value += data
        if len(value) > MAX_OPTION_BYTES:
            raise UnsupportedForm(f"the option {name!r} is longer than {MAX_OPTION_BYTES} bytes")

    @property
    def has_uploads(self) -> bool:
        """True if the form has ids of uploads in place of files."""
        return UPLOADS in self._read

    def values(self) -> dict[str, str]:
        """Return the options' values by name. Raises UnsupportedForm if a value is not UTF-8."""
        try:
            return {name: value.decode() for name, value in self._read.items()}
        except UnicodeDecodeError as exc:
            raise UnsupportedForm("the value of an option is not valid UTF-8") from exc


class Form:
    """A form: images in fields called `file`, and options in fields without a file name."""

    def __init__(self, files: Files, fields: Fields, parameters: dict[bytes, bytes]) -> None:
        """`parameters` are the parameters of the form's content type, such as `boundary`."""
        self._files = files
        self._fields = fields
        self._sink: Files | Fields = files
        self._parts = FormParts(parameters.get(b"boundary"), FILE_FIELD, on_head=self._on_head, on_data=self._on_data)

    def write(self, data: bytes) -> None:
        """Parse the next bytes of the form. Raises BodyTooLarge, UnsupportedForm and RequestValidationError."""
        self._parts.write(data)

    def finish(self) -> None:
        """Raise UnsupportedForm if the form is not complete or has no file."""
        if not self._parts.is_complete:
            raise UnsupportedForm("it ends early")
        if self._files.images and self._fields.has_uploads:
            raise UnsupportedForm("it has files and uploads; a job has one of both")
        if not self._files.images and not self._fields.has_uploads:
            raise UnsupportedForm("it has no file")

    def _on_head(self, part: Part) -> None:
        field = part.field[:MAX_NAME_CHARS]
        if (coding := part.headers.get("content-transfer-encoding", "binary").lower()) not in PLAIN_CODINGS:
            raise UnsupportedForm(f"a field is encoded ({coding[:MAX_NAME_CHARS]}), and must be sent unencoded")
        if field == FILE_FIELD:
            self._begin_file((part.file_name or "")[:MAX_NAME_CHARS] or None)
        elif part.file_name is not None:
            raise UnsupportedForm(f"it has a file in the field {field!r}")
        else:
            self._fields.begin(field)
            self._sink = self._fields

    def _begin_file(self, name: str | None) -> None:
        if len(self._files.images) == (most := self._files.most_files):
            raise UnsupportedForm(f"it has more than {'one file' if most == 1 else f'{most} files'}")
        self._sink = self._files
        self._files.begin(name)

    def _on_data(self, data: bytes) -> None:
        self._sink.write(data)
