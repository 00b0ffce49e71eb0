"""What the schemas of all resources share: their base class, times and enumerations."""

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


class Schema(BaseModel):
    """What all answers share: they are read from the domain's own objects, and never change."""

    model_config = ConfigDict(
        from_attributes=True,
        use_attribute_docstrings=True,
        frozen=True,
        json_schema_serialization_defaults_required=True,
    )


class _Inline:
    """Validates an enumeration as pydantic does, and lists its values in the document."""

    def __get_pydantic_core_schema__(self, enumeration: type[StrEnum], handler: GetCoreSchemaHandler) -> CoreSchema:
        # Not strict: JSON has only the value. Without a name of its own in the document, unlike pydantic's.
        return core_schema.enum_schema(enumeration, list(enumeration), sub_type="str", strict=False)

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        values = handler(schema)
        return {"type": values["type"], "enum": values["enum"]}


AnyEnum = TypeVar("AnyEnum", bound=StrEnum)
InlineEnum = Annotated[AnyEnum, _Inline()]
"""An enumeration of the domain whose values the OpenAPI document lists where they are used, not apart.

Without it, each enumeration that a schema takes from the domain would change the document that clients know.
"""
