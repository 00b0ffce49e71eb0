"""The header `Idempotency-Key` of requests that create jobs."""

from typing import Annotated

from fastapi import Header
from pydantic.json_schema import SkipJsonSchema

from app.api.http.checks.validation_messages import VISIBLE_ASCII

MAX_KEY_CHARS = 255
IdempotencyKey = Annotated[
    str | SkipJsonSchema[None],
    Header(
        min_length=1,
        max_length=MAX_KEY_CHARS,
        pattern=VISIBLE_ASCII,
        description="A new text, such as a UUID, for each job or upload. A request sent again gets the one it created.",
    ),
]
