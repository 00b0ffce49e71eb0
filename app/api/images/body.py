"""The body of a request that sends images: a dependency of routes, and its description for the OpenAPI document."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from app import errors
from app.api.http.header_fields import FORM
from app.api.http.request_errors import BodyCutShort, UnsupportedForm, UploadStalled
from app.api.images.receiver import ImageBody
from app.engine.contract.image_formats import MEDIA_TYPES

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


def form_body(options: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a body that is an image or a form, with the options that the form may have."""
    described = options.model_json_schema()
    fields = {"file": {"type": "string", "format": "binary"}, **described["properties"]}
    form = {"type": "object", "required": ["file"], "additionalProperties": False, "properties": fields}
    return {
        "required": True,
        "description": "The image itself, or a form with the file in the field `file`. A job may have several such "
        "fields. A form may also have the options that the query has. The bytes decide which format a file has, "
        "whatever media type is announced.",
        "content": {**dict.fromkeys((*MEDIA_TYPES, "application/octet-stream"), BINARY), FORM: {"schema": form}},
    }


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
    UnsupportedForm,
    errors.StateFull,
    errors.StateUnavailable,
    BodyCutShort,
    UploadStalled,
)
"""Errors of a route that receives and reads an image."""


async def _image_body(
    request: Request,
    x_pdf_password: Annotated[
        str | None,
        Header(description="The password of an encrypted PDF, percent-encoded. It is neither stored nor logged."),
    ] = None,
) -> ImageBody:
    headers = request.headers
    length = int(headers.get("content-length", 0))
    password = None if x_pdf_password is None else unquote(x_pdf_password)
    return ImageBody(headers.get("content-type", ""), length, request.stream(), password)


ImageBodyDep = Annotated[ImageBody, Depends(_image_body)]
