"""The body of a request that sends images: a dependency of routes, and its description for the OpenAPI document."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Header, Request
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.http.header_fields import FORM
from app.api.http.request_errors import BodyCutShort, UnsupportedForm, UploadStalled
from app.api.images.received import ImageBody
from app.engine.contract.image_formats import MEDIA_TYPES

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def image_request_body(*, has_several: bool = False) -> dict[str, Any]:
    """Return the description of a body that is a form or an image. `has_several`: the form may have several files.

    It is what generated clients can use. The form comes first, because most generators offer only the first media type;
    its schema has no options, because a generated function would have each of them twice, for the query and for the
    form. JSON with URLs is an example in the text: hey-api takes JSON before any other media type, and the Python
    client of openapi-generator announces JSON for a form, so that neither could send a file.
    """
    one = BINARY["schema"]
    file = {"type": "array", "items": one, "minItems": 1} if has_several else one
    form = {"type": "object", "required": ["file"], "properties": {"file": file}}
    files = "files in fields `file`" if has_several else "file in the field `file`"
    by_upload = " A form or JSON may name finished uploads in `uploads` in place of files." if has_several else ""
    by_urls = '"urls": ["https://files.example/1.png", "https://files.example/2.png"]'
    by_url = by_urls if has_several else '"url": "https://files.example/1.png"'
    return {
        "required": True,
        "description": f"A form with the {files}, an image itself, or JSON such as "
        f'`{{{by_url}, "language": "deu"}}`. The URLs must be below those of OCR_PULL_ALLOWED_URLS. A form and JSON '
        f"may have the options of the query.{by_upload} The bytes decide which format a file has, whatever type is "
        "announced.",
        "content": {FORM: {"schema": form}, **dict.fromkeys((*MEDIA_TYPES, "application/octet-stream"), BINARY)},
    }


BODY_ERRORS = (
    UnsupportedForm,
    errors.SourceNotAllowed,
    errors.SourceNotFound,
    errors.SourceRefused,
    errors.SourceUnavailable,
    errors.SourceMismatch,
    errors.PullsMisconfigured,
    errors.StateFull,
    errors.StateUnavailable,
    BodyCutShort,
    UploadStalled,
)
"""Errors of a route that receives images, or their URLs."""
IMAGE_ERRORS = (
    errors.UnsupportedImage,
    errors.UnreadableImage,
    errors.ImageTooLarge,
    errors.PagesBeyondEnd,
    errors.RegionOutsidePage,
    errors.EncryptedPdf,
    errors.UnknownLanguage,
    errors.ResourceMissing,
    errors.ResourceRefused,
    *BODY_ERRORS,
)
"""Errors of a route that receives and reads an image."""


async def _image_body(
    request: Request,
    x_pdf_password: Annotated[
        str | SkipJsonSchema[None],
        Header(description="The password of an encrypted PDF, percent-encoded. It is not logged; a job stores it."),
    ] = None,
) -> ImageBody:
    headers = request.headers
    length = int(headers.get("content-length", 0))
    password = None if x_pdf_password is None else unquote(x_pdf_password)
    return ImageBody(headers.get("content-type", ""), length, request.stream(), password)


ImageBodyDep = Annotated[ImageBody, Depends(_image_body)]
