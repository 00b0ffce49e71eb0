"""The query parameters of `GET /models`, and the cursor of the next page.

A cursor holds the name and the sort key of its page's last model, not an index: models that are added or deleted
between two pages move no other model to another page.
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

from app.store import Format, Status
from app.store.names import MAX_NAME_BYTES

MAX_LIMIT = 1000

Sort = Literal["name", "-name", "size_bytes", "-size_bytes", "modified_at", "-modified_at"]
Position = tuple[int, str]
"""A model's sort key: the number that the list is sorted by, then the name."""
Selection = tuple[Any, ...]
"""The filters and the order of a query, which are equal for every page of one list."""


class _Optional:
    """Describes a parameter in the OpenAPI document as optional but not nullable."""

    def __get_pydantic_json_schema__(self, schema: Any, handler: GetJsonSchemaHandler) -> JsonSchemaValue:  # noqa: ANN401
        return handler(schema["schema"])


def _true_or_false(value: object) -> object:
    """Convert `true` and `false` only, as documented; pydantic would also accept `yes`, `1` and others."""
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value


T = TypeVar("T")
Maybe = Annotated[T | None, _Optional()]
Flag = Annotated[bool, Field(strict=True), BeforeValidator(_true_or_false)]
Glob = Annotated[str, Field(min_length=1, max_length=MAX_NAME_BYTES)]
Limit = Annotated[int, Field(ge=1, le=MAX_LIMIT)]
CursorText = Annotated[str, Field(max_length=4 * MAX_NAME_BYTES)]
"""The text of a cursor. The limit is long enough for the cursor of the longest name."""


class Cursor(BaseModel):
    """The position after which the next page begins."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    key: int
    name: str
    digest: str
    """The digest of the selection that the cursor belongs to."""

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read a cursor from the text that `str(cursor)` returned. Raises ValueError for any other text."""
        padded = text + "=" * (-len(text) % 4)
        return cls.model_validate_json(base64.b64decode(padded.encode(), altchars=b"-_", validate=True))

    def __str__(self) -> str:
        return base64.urlsafe_b64encode(self.model_dump_json().encode()).decode().rstrip("=")


class ListQuery(BaseModel):
    """The query parameters of `GET /models`. Unknown parameters are refused, so no misspelt filter is ignored."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    status: Maybe[Status] = None
    """Only models with this status."""
    format: Maybe[Format] = None
    """Only models of this format, by the suffix of their name."""
    protected: Maybe[Flag] = None
    """Only models that are protected (`true`), or that are not (`false`)."""
    in_use: Maybe[Flag] = None
    """Only models that are in use (`true`), or that are not (`false`)."""
    recognised: Maybe[Flag] = None
    """Only models that AsposeAI lists (`true`), or does not list (`false`). Models about which AsposeAI has
    not been asked match neither."""
    min_size: Maybe[NonNegativeInt] = Field(default=None, examples=[1_000_000])
    """Only models of at least this many bytes."""
    name: Maybe[Glob] = Field(default=None, examples=["*_v2.*"])
    """Only models whose name, or the last part of it, matches this case-sensitive shell pattern: `*`, `?`, `[…]`."""
    sort: Sort = "name"
    """The sort key; `-` for descending order. Models with equal keys are sorted by name in the same direction."""
    limit: Maybe[Limit] = Field(default=None, examples=[100])
    """The page size. Without it, the answer has all models."""
    # Last, because its validator needs the fields above.
    cursor: Maybe[CursorText] = None
    """The `next_cursor` of the previous page. Send the same filters and `sort` with it; `limit` may differ."""

    @property
    def selection(self) -> Selection:
        """Return the filters and the order. They are equal for every page of one list."""
        return tuple(getattr(self, field) for field in SELECTING)

    @property
    def after(self) -> Position | None:
        """Return the position of the previous page's last model; None for the first page."""
        if self.cursor is None:
            return None
        cursor = Cursor.parse(self.cursor)
        return cursor.key, cursor.name

    def cursor_at(self, position: Position) -> str:
        """Return the cursor of a page that ends at `position`."""
        return str(Cursor(key=position[0], name=position[1], digest=_digest(self.selection)))

    @field_validator("cursor")
    @classmethod
    def _check_cursor(cls, text: str | None, info: ValidationInfo) -> str | None:
        if text is None or not info.data.keys() >= set(SELECTING):
            return text  # another parameter is invalid, and the error names that parameter
        try:
            cursor = Cursor.parse(text)
        except ValueError:
            raise PydanticCustomError(
                "cursor",
                "this is not a cursor of this list; send 'next_cursor' unchanged, or no cursor for the first page",
            ) from None
        if cursor.digest != _digest(tuple(info.data[field] for field in SELECTING)):
            raise PydanticCustomError(
                "cursor",
                "this cursor belongs to other filters or another sort; send those, or no cursor for the first page",
            )
        return text


SELECTING = tuple(field for field in ListQuery.model_fields if field not in {"limit", "cursor"})


def _digest(selection: Selection) -> str:
    return hashlib.blake2b(repr(selection).encode(), digest_size=6).hexdigest()
