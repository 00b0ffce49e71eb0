"""The header `Idempotency-Key` of requests that create jobs."""

from typing import Annotated

from fastapi import Header
from pydantic.json_schema import SkipJsonSchema

MAX_KEY_CHARS = 255
IdempotencyKey = Annotated[
    str | SkipJsonSchema[None],
    Header(
        min_length=1,
        max_length=MAX_KEY_CHARS,
        pattern=r"^[!-~]+$",
        description="A text of your choice, such as a UUID, new for each job. If the same request is sent again with "
        "its key, the answer is the job that the key has created, for as long as that job exists; a different request "
        "with the key is answered 422. Ignored if the answer is no job.",
        examples=["5f0c4a52-6c1e-4b1f-9d70-0a8f4f3f1f7e"],
    ),
]
