"""What may be asked of the list, and the cursor that leads from one page to the next.

A cursor names the last model of its page by what the list is sorted by, not by a position: models that come and go
between two pages move no other model from one page to another.
"""

import base64
import hashlib
from typing import Annotated, Any, Literal, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    NonNegativeInt,
    ValidationInfo,
    field_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import PydanticCustomError

from app.store.headers.formats import Format
from app.store.names import MAX_NAME_BYTES
from app.store.policy import Status

MAX_LIMIT = 1000

Sort = Literal["name", "-name", "size_bytes", "-size_bytes", "modified_at", "-modified_at"]
Position = tuple[int, str]
"""Where a model stands in a list: by the number it is sorted by, and by its name among equals."""
Selection = tuple[Any, ...]
"""Which models are asked for, and in which order; the same on every page of one list."""


class _Optional:
    """For the document, a parameter that may be left out is no parameter that may be null."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:  # noqa: ANN401
        return handler(schema["schema"])


def _true_or_false(value: object) -> object:
    """Only these two: what else pydantic takes for a bool, the OpenAPI document does not."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


T = TypeVar("T")
Maybe = Annotated[T | None, _Optional()]
Flag = Annotated[bool, Field(strict=True), BeforeValidator(_true_or_false)]
Glob = Annotated[str, Field(min_length=1, max_length=MAX_NAME_BYTES)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
CursorText = Annotated[str, Field(max_length=4 * MAX_NAME_BYTES)]
"""The cursor of the longest name is shorter."""


class Cursor(BaseModel):
    """The end of one page."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    key: int
    name: str
    digest: str
    """Of the selection that it is a position in."""

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read what `str()` wrote; raises ValueError for anything else."""
        padded = text + "=" * (-len(text) % 4)
        return cls.model_validate_json(base64.b64decode(padded.encode(), altchars=b"-_", validate=True))

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode().rstrip("=")


class ListQuery(BaseModel):
    """What may be asked of `GET /models`; anything else is refused, so that a misspelt filter is not ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    status: Maybe[Status] = None
    """Only models of that status."""
    format: Maybe[Format] = None
    """Only models of that format, by the suffix of their name."""
    protected: Maybe[Flag] = None
    """Only models that are protected, or only others."""
    in_use: Maybe[Flag] = None
    """Only models that are in use, or only others."""
    recognised: Maybe[Flag] = None
    """Only models that AsposeAI recognises, or only those it passed over; what it was not asked about is neither."""
    min_size: Maybe[NonNegativeInt] = Field(default=None, examples=[1_000_000])
    """Only models of that many bytes or more."""
    name: Maybe[Glob] = Field(default=None, examples=["*_v2.*"])
    """Only models whose whole name or its last part matches this shell pattern, with case: `*`, `?`, `[…]`."""
    sort: Sort = "name"
    """What the list is sorted by, `-` for descending; equals by name, in the same direction."""
    limit: Maybe[Limit] = Field(default=None, examples=[100])
    """How many models one answer holds at most; without it, all."""
    # Last, because what it is checked against must be known before.
    cursor: Maybe[CursorText] = None
    """The `next_cursor` of the page before. It goes with the same filters and `sort`; `limit` may be another."""

    @property
    def selection(self) -> Selection:
        """Which models are asked for, in which order."""
        return tuple(getattr(self, field) for field in SELECTING)

    @property
    def after(self) -> Position | None:
        """Where the page before this one ended."""
        if self.cursor is None:
            return None
        cursor = Cursor.parse(self.cursor)
        return cursor.key, cursor.name

    def cursor_at(self, position: Position) -> str:
        """The cursor of a page that ends there."""
        return str(Cursor(key=position[0], name=position[1], digest=_digest(self.selection)))

    @field_validator("cursor")
    @classmethod
    def _check_cursor(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None or not info.data.keys() >= set(SELECTING):
            return text  # the parameter that is wrong is told of
        try:
            cursor = Cursor.parse(text)
        except ValueError:
            raise PydanticCustomError(
                "cursor", "this is no cursor of this list; send 'next_cursor' as it came, or none for the first page"
            ) from None
        if cursor.digest != _digest(tuple(info.data[field] for field in SELECTING)):
            raise PydanticCustomError(
                "cursor", "this cursor belongs to other filters or another sort; send those again, or begin without it"
            )
        return text


SELECTING = tuple(field for field in ListQuery.model_fields if field not in {"limit", "cursor"})


def _digest(selection: Selection) -> str:
    return hashlib.blake2b(repr(selection).encode(), digest_size=6).hexdigest()
