"""Answers of `/engines`."""

from pydantic import NonNegativeFloat, NonNegativeInt

from app.api.engine.schemas import LoadedOut, LoadingOut
from app.api.http.schema import Schema, Timestamp


class WorkOut(Schema):
    """What an engine works at."""

    kind: str
    """`recognise`, `load` or a processor."""
    since: Timestamp
    """When this work began."""
    job_id: str | None
    """The job that the work belongs to, or null."""


class ServiceEngineOut(Schema):
    """The engine of one service."""

    id: str
    """The service's id, which is new after each start."""
    name: str | None
    """The service's name, as in `x-served-by`. This and other members are null if the service does not tell them."""
    host: str | None
    """The name of the service's machine."""
    pid: int | None
    """The id of the service's process: `host:pid` is the `owner` of its jobs."""
    version: str | None
    """The version of the service."""
    started_at: Timestamp | None
    """When the service started."""
    read_only: bool
    """Whether the service refuses changes."""
    silent: bool
    """Whether the service lives but has told nothing for 15 s: it is stopped, hangs, or cannot write to the folder."""
    age_seconds: NonNegativeFloat
    """How long ago the service told this."""
    state: str | None
    """The engine's state, as in `GET /engine`."""
    loaded: LoadedOut | None
    """The loaded model, or null."""
    loading: LoadingOut | None
    """The model that is being loaded, or null."""
    works: list[WorkOut]
    """What the engine works at."""
    waiting: NonNegativeInt
    """How many calls wait in the queue."""
    expected_seconds: NonNegativeFloat | None
    """In how many seconds a call that comes now should begin, by the mean of recent calls; null if none has ended."""


class EnginesOut(Schema):
    """The engines of all living services on the model folder."""

    engines: list[ServiceEngineOut]
    """The engine of the service that answers, then the others by id."""
