"""What the schemas of all resources share: their base class, and how a time is written."""

from datetime import UTC, datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema


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
