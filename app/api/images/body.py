"""What routes that take an image say of it in the OpenAPI document; they read the body as it comes."""

from typing import Any

from app.api.images.receiver import FORM
from app.engine.contract.recognition import MEDIA_TYPES

BINARY: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
BODY: dict[str, Any] = {
    "required": True,
    "description": "The image as it is, or a form with one file, in the field `file`; for a job, several of them.",
    "content": {
        **dict.fromkeys(MEDIA_TYPES, BINARY),
        FORM: {
            "schema": {
                "type": "object",
                "required": ["file"],
                "properties": {"file": {"type": "string", "format": "binary"}},
            }
        },
    },
}
