"""Recognition for the drop-in addresses: one image of a request, read with the language of the settings."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.responses import JSONResponse

from app.api.http.deps import part
from app.api.http.disconnects import cancel_on_disconnect
from app.api.images.documents import TRUNCATED
from app.api.images.received import ImageBody
from app.api.images.service import RecognitionService
from app.engine.contract.document_formats import DocumentFormat
from app.engine.contract.reading_options import PageRange
from app.engine.contract.recognition_call import RecognitionOptions
from app.engine.recognition import Recognition

Pages = tuple[PageRange, ...] | None
"""The pages to read, counted from 1; None for all."""


@dataclass(frozen=True, slots=True)
class Asked:
    """What a request asks for, besides its image."""

    save_as: DocumentFormat | None = None
    """The document to write besides the text of the pages."""
    pages: Pages = None
    language: str | None = None
    """A name of the vendor's `Language`; None for that of the settings."""


class CompatibleReading:
    """Reads the images of requests to the drop-in addresses."""

    def __init__(self, service: RecognitionService, language: str) -> None:
        """`language` is the vendor's name of the language of requests that name none."""
        self._service = service
        self._options = RecognitionOptions(language, "universal", False, False, None, None)  # noqa: FBT003

    @asynccontextmanager
    async def read(
        self, request: Request, image: AsyncIterator[bytes], asked: Callable[[], Asked] = Asked
    ) -> AsyncIterator[Recognition]:
        """Receive an image and recognise it. The document, if one is written, is removed when the context ends.

        `asked` is called when the image is received, since a body may have the options after the image. Raises what
        `POST /ocr` raises.
        """
        self._service.require_available()
        body = ImageBody("application/octet-stream", 0, image)
        async with self._service.receive_one(body, frozenset()) as received:
            found = asked()
            options = replace(
                self._options,
                save_as=found.save_as,
                pages=found.pages,
                language=found.language or self._options.language,
            )
            yield await cancel_on_disconnect(request, self._service.recognise(received.images[0], options))


CompatibleReadingDep = Annotated[CompatibleReading, part("compatible_reading")]


def answer(content: object, recognition: Recognition) -> JSONResponse:
    """Return an answer with the header that says whether the unlicensed engine has cut the text."""
    is_truncated = any(page["truncated_by_evaluation"] for page in recognition.pages)
    return JSONResponse(content, headers={TRUNCATED: str(is_truncated).lower()})


def refused(field: str, message: str) -> RequestValidationError:
    """Return the error about a field of a body."""
    return RequestValidationError([{"loc": ("body", field), "msg": message}])
