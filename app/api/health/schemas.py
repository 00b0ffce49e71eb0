"""Schemas of the probes."""

from typing import Literal

from pydantic import ConfigDict, Field

from app.api.http.schema import Schema


class AliveOut(Schema):
    """The service's process is alive."""

    status: Literal["alive"]
    """Always `alive`."""


class CheckOut(Schema):
    """The result of one check of a part of the service."""

    name: str
    """`store`, `store-writable`, `journal` or `engine`; `queue`, with a database; `license`, if it failed; `volume-`
    and the name of a check of `GET /storage`; or the name of an engine's capability."""
    ok: bool
    """Whether the check passed."""
    required: bool
    """Whether the service is ready only if the check passes."""
    reason: str | None
    """What is wrong, and what would help. Null if the check passed."""


class ReadyOut(Schema):
    """The service is ready."""

    # `checks` is left out of an answer without `?verbose`, so the document must not require it.
    model_config = ConfigDict(json_schema_serialization_defaults_required=False)

    status: Literal["ready"]
    """Always `ready`; a service that is not ready answers 503."""
    checks: list[CheckOut] = Field(default=[])
    """The checks, with `?verbose` only. `ai` and `recognition` passed if the engine could load the native libraries."""
