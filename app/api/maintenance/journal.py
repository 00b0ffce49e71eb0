"""`/journal`: which caller changed which model, and when."""

from typing import Annotated

from anyio import to_thread
from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field

from app import errors
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import StoreDep
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.schema import DamagedRecordOut
from app.api.maintenance.schemas import JournalEntryOut, JournalOut

router = APIRouter(tags=["trash"], route_class=GuardedRoute)


class JournalQuery(BaseModel):
    """The query parameters of the journal."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    limit: int = Field(default=100, ge=1, le=1000)
    """The largest number of events to return."""


@router.get(
    "/journal",
    summary="Get the journal",
    response_description="The last events, newest first.",
    responses=problems(errors.StoreUnavailable, RequestValidationError),
    openapi_extra=needs(Scope.READ),
)
async def get_journal(query: Annotated[JournalQuery, Query()], store: StoreDep) -> JournalOut:
    """Get the last changes of models in this folder, made by any service, newest first.

    Each event names the action, the model, the caller, the time and the request.
    """
    events = await to_thread.run_sync(store.journal.latest, query.limit)
    damaged = await to_thread.run_sync(store.volume.records.damaged, "journal")
    return JournalOut(
        events=[JournalEntryOut.model_validate(event) for event in events],
        warnings=[DamagedRecordOut.model_validate(each) for each in damaged],
    )
