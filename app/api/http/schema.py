"""Shared by the schemas of all resources: the base class, times and enumerations."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import (
    BaseModel,
    ConfigDict,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, PydanticCustomError, PydanticKnownError, core_schema


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Timestamp = Annotated[
    datetime, PlainSerializer(_rfc3339, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A time in an answer, as RFC 3339 in UTC with microseconds."""


class Schema(BaseModel):
    """The base class of the bodies of answers: immutable, and built from the attributes of the object described."""

    model_config = ConfigDict(
        from_attributes=True,
        use_attribute_docstrings=True,
        frozen=True,
        json_schema_serialization_defaults_required=True,
    )


OF_OTHER_VERSIONS = {"missing", "enum", "literal_error"}
"""pydantic's names of the errors that the answer of an earlier or later version may have."""


def wrong_members(schema: type[Schema], body: bytes) -> list[str]:
    """Return the members of an answer, such as `models.0.name`, that do not have the types of the schema.

    Members that are missing or unknown and unknown values of enumerations are accepted: other versions have them.
    """
    try:
        schema.model_validate_json(body, strict=True)
    except ValidationError as exc:
        found = exc.errors(include_url=False, include_context=False, include_input=False)
        return [".".join(map(str, error["loc"])) for error in found if error["type"] not in OF_OTHER_VERSIONS]
    return []


@dataclass(frozen=True, slots=True)
class StringForm:
    """Annotates a string that must match a regular expression, and has the sentence for a string that does not."""

    pattern: str
    sentence: str
    """The allowed forms, in words: 'must be ...'."""

    def __get_pydantic_core_schema__(self, source: type[str], handler: GetCoreSchemaHandler) -> CoreSchema:
        """Return pydantic's schema of the string, followed by this check."""
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        """Return the string's schema for the OpenAPI document, with the regular expression as `pattern`."""
        return handler(schema) | {"pattern": self.pattern}

    def _check(self, text: str | None) -> str | None:
        if text is not None and not text.isascii():
            try:
                text.encode()
            except UnicodeEncodeError:
                raise PydanticKnownError("string_unicode") from None
        # In JSON Schema `$` matches only at the end of the text; in Python it also matches before a final line feed.
        if text is not None and not re.search(self.pattern.replace("$", r"\Z"), text):
            raise PydanticCustomError("string_form", "{sentence}", {"sentence": self.sentence})
        return text


class DamagedRecordOut(Schema):
    """A file in `.store/` that is not a valid record. The service leaves it in place."""

    kind: str
    """The kind of record, such as `trash`, `job`, `partial` or `protection`."""
    path: str
    """The file's path below the model folder."""
    reason: str
    """What is wrong with the file."""


class _Inline:
    """Annotates an enumeration. pydantic validates it as usual, but the OpenAPI document lists its values inline."""

    def __get_pydantic_core_schema__(self, enumeration: type[StrEnum], handler: GetCoreSchemaHandler) -> CoreSchema:
        # Not strict, because JSON holds only the value. Unlike pydantic's own schema, it has no name in the document.
        return core_schema.enum_schema(enumeration, list(enumeration), sub_type="str", strict=False)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        values = handler(schema)
        return {"type": values["type"], "enum": values["enum"]}


AnyEnum = TypeVar("AnyEnum", bound=StrEnum)
InlineEnum = Annotated[AnyEnum, _Inline()]
"""An enumeration of the domain whose values the OpenAPI document lists inline, not as a schema with a name.

So a schema can use an enumeration of the domain without changing the document that clients know.
"""
