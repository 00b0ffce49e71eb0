"""`POST /ai/table`: an image comes in, and its pages as tables go out."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.http.auth import GuardedRoute, needs
from app.api.http.error_groups import IMAGE_ERRORS
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.request_errors import CallerGone
from app.api.http.routing import streams_body
from app.api.images.body import BODY
from app.api.images.service import RecognitionServiceDep
from app.api.ocr.schemas import ImageQuery, TablesOut, describe_tables
from app.engine.contract.recognition import RecognitionOptions

router = APIRouter(tags=["ai"], route_class=GuardedRoute)

RECOGNITION_ERRORS = (
    errors.EngineNotReady,
    errors.EngineBusy,
    errors.EngineLacks,
    errors.EngineCallFailed,
    errors.EngineTimedOut,
    errors.EngineDied,
    CallerGone,
    RequestValidationError,
)


@router.post(
    "/ai/table",
    summary="Read tables",
    response_description="Each page as a table.",
    responses=problems(*IMAGE_ERRORS, *RECOGNITION_ERRORS),
    openapi_extra=needs(Scope.AI) | {"requestBody": BODY},
)
@streams_body
async def read_tables(
    request: Request, reader: RecognitionServiceDep, query: Annotated[ImageQuery, Query()]
) -> TablesOut:
    """Read an image as `POST /ocr` does, and give each page as rows of cells, as AsposeAI's table processor makes them.

    It takes no model and leaves what is loaded as it is. The processor takes the whole page for one table. Without a
    licence the engine cuts every page to its first rows, and says so.
    """
    wish = RecognitionOptions(
        query.language, "universal", query.auto_skew, query.upscale, query.page_range, None, tables=True
    )
    async with reader.read(request, wish) as recognition:
        return describe_tables(recognition)
