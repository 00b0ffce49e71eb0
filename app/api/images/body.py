"""The body of a request that sends images: a dependency of routes, and its description for the OpenAPI document."""

from typing import Annotated, Any
from urllib.parse import unquote

from fastapi import Depends, Header, Request
from pydantic import BaseModel

from app import errors
from app.api.http.header_fields import FORM, JSON
from app.api.http.request_errors import BodyCutShort, UnsupportedForm, UploadStalled
from app.api.images.received import ImageBody
from app.api.images.url_body import MAX_URL_CHARS
from app.engine.contract.image_formats import MEDIA_TYPES

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}


URL_SCHEMA: dict[str, Any] = {"type": "string", "format": "uri", "minLength": 1, "maxLength": MAX_URL_CHARS}


def image_request_body(options: type[BaseModel]) -> dict[str, Any]:
    """Return the description of a body that is an image, a form, or JSON with the URL of an image.

    `options` has the options that the form and the JSON may have.
    """
    described = options.model_json_schema()
    # The query describes the options; the form names them only.
    options_of_form = {
        name: {key: value for key, value in schema.items() if key != "description"}
        for name, schema in described["properties"].items()
    }
    fields = {"file": {"type": "string", "format": "binary"}, **options_of_form}
    form = {"type": "object", "required": ["file"], "additionalProperties": False, "properties": fields}
    urls = {
        "url": {
            **URL_SCHEMA,
            "description": "The URL of the image, below one of OCR_PULL_ALLOWED_URLS. Required without `urls`.",
        },
        "urls": {
            "type": "array",
            "minItems": 1,
            "items": URL_SCHEMA,
            "description": "The URLs of the images of a job, instead of `url`.",
        },
    }
    by_url = {
        "type": "object",
        "additionalProperties": False,
        "properties": {**urls, **described["properties"]},
    }
    return {
        "required": True,
        "description": "The image itself, a form with the file in the field `file`, or JSON with the `url` of the "
        "image. A job may have several such fields, or `urls`. A form and JSON may also have the options that the "
        "query has. The bytes decide which format a file has, whatever media type is announced.",
        "content": {
            **dict.fromkeys((*MEDIA_TYPES, "application/octet-stream"), BINARY),
            FORM: {"schema": form},
            JSON: {"schema": by_url, "example": {"url": "https://files.example/scans/invoice.png", "language": "deu"}},
        },
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
