"""`POST /ai/table`: tables recognised in an image."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.ai.schemas import TablesOut, describe_tables
from app.api.http.auth import GuardedRoute, needs
from app.api.http.checks.body_streams import streams_body
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.request_errors import CallerGone
from app.api.images.body import BODY, IMAGE_ERRORS, ImageBodyDep
from app.api.images.query import ImageQuery
from app.api.images.service import RecognitionServiceDep

router = APIRouter(tags=["ai"], route_class=GuardedRoute)

RECOGNITION_ERRORS = (
    errors.EngineNotReady,
    errors.EngineBusy,
    errors.EngineLacks,
    errors.EngineCallFailed,
    errors.EngineTimedOut,
    errors.EngineDied,
    errors.EngineOutOfMemory,
    CallerGone,
    RequestValidationError,
)


@router.post(
    "/ai/table",
    summary="Recognise tables",
    response_description="Each page as a table.",
    responses=problems(*IMAGE_ERRORS, *RECOGNITION_ERRORS),
    openapi_extra=needs(Scope.AI) | {"requestBody": BODY},
)
@streams_body
async def recognise_tables(
    request: Request, body: ImageBodyDep, service: RecognitionServiceDep, query: Annotated[ImageQuery, Query()]
) -> TablesOut:
    """Read an image as `POST /ocr` does, and return each page as rows of cells, made by AsposeAI's table processor.

    This needs no model and keeps the loaded model. The processor treats the whole page as one table. Without a licence
    the engine cuts every page to its first rows or to none; then `truncated_by_evaluation` is true.
    """
    service.require_available(tables=True)
    async with service.receive_one(body) as image:
        options = query.to_table_options()
        return describe_tables(await cancel_on_disconnect(request, service.recognise(image, options)))
