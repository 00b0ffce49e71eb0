"""Shared by the schemas of all resources: the base class, times and enumerations."""

from datetime import UTC, datetime
from enum import StrEnum
from typing import Annotated, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, PlainSerializer, WithJsonSchema
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


def _rfc3339(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


Timestamp = Annotated[
    datetime, PlainSerializer(_rfc3339, return_type=str), WithJsonSchema({"type": "string", "format": "date-time"})
]
"""A time in an answer, as RFC 3339 in UTC with microseconds."""


class Schema(BaseModel):
    """The base class of the bodies of answers: immutable, and built from the attributes of the domain's objects."""

    model_config = ConfigDict(
        from_attributes=True,
        use_attribute_docstrings=True,
        frozen=True,
        json_schema_serialization_defaults_required=True,
    )


class _Inline:
    """Annotates an enumeration: validated as pydantic does, but its values are listed inline in the document."""

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
