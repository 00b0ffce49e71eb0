"""`POST /engine/load`."""

from typing import Annotated

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from app import errors
from app.api.ai.service import TextServiceDep
from app.api.engine.deps import ModelSessionDep
from app.api.engine.schemas import LoadedOut
from app.api.http.auth import GuardedRoute, needs
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.error_groups import LOAD_ERRORS
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.engine.contract.processors import Processor

router = APIRouter(tags=["engine"], route_class=GuardedRoute)


class LoadIn(BaseModel):
    """What is to be loaded."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    processor: Processor
    """For which work."""
    model: Annotated[str, Field(max_length=4096)] | None = None
    """The model's name; without it, the one that AsposeAI uses by itself. Another one takes a licence."""


@router.post(
    "/engine/load",
    summary="Load a model",
    response_description="What is loaded.",
    responses=problems(*LOAD_ERRORS, errors.InvalidModelName, errors.ModelNotFound, errors.ModelNotLicensed),
    openapi_extra=needs(Scope.ENGINE),
)
async def load_model(
    request: Request, body: LoadIn, text_service: TextServiceDep, session: ModelSessionDep
) -> LoadedOut:
    """Load a model for one kind of work; answer at once when that is loaded already.

    The calls below `/ai` do it by themselves: this is for doing it beforehand. One processor is loaded at a time, and
    another one takes the place of its process, since AsposeAI gives nothing back while its process lives. A loaded
    model is in use: it cannot be deleted. `GET /engine` shows `loading` meanwhile. A caller that hangs up ends it.
    """
    wanted = await text_service.choose(body.processor, body.model)
    return LoadedOut.model_validate(await cancel_on_disconnect(request, session.load(wanted)))
