"""`POST /ai/table`: tables recognised in an image."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from app import errors
from app.api.ai.schemas import TablesOut, describe_tables
from app.api.http.auth import GuardedRoute, needs
from app.api.http.checks.body_streams import streams_body
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.header_fields import JSON
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.http.request_errors import CallerGone, NotAcceptable
from app.api.http.schema import InlineEnum
from app.api.images.body import IMAGE_ERRORS, ImageBodyDep, image_request_body
from app.api.images.documents import (
    TABLE_FORMATS,
    TRUNCATED,
    TableFormat,
    answer_parts,
    chosen_table_format,
    document_response,
)
from app.api.images.options.form_fields import with_form_fields
from app.api.images.options.image_query import ImageQuery
from app.api.images.page_warnings import warnings_header
from app.api.images.service import RecognitionServiceDep
from app.engine.contract.recognition_call import RecognitionOptions

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
    NotAcceptable,
    RequestValidationError,
)


class TableQuery(ImageQuery):
    """How to recognise tables."""

    format: Annotated[InlineEnum[TableFormat] | SkipJsonSchema[None], Field()] = None
    """The format of the answer; it takes precedence over `Accept`."""

    def to_table_options(self, save_as: str | None) -> RecognitionOptions:
        """Return the engine's options. `save_as` is the engine's name of the document format to write, or None."""
        return RecognitionOptions(
            self.language,
            "universal",
            self.auto_skew,
            self.upscale,
            self.page_ranges,
            save_as,
            tables=True,
            filters=self.image_filters,
        )


TABLE_RESPONSES: dict[int | str, dict[str, Any]] = {200: answer_parts(TABLE_FORMATS)}


@router.post(
    "/ai/table",
    summary="Recognise tables",
    response_model=TablesOut,
    response_description="Each page as a table, in the format that `Accept` asks for; JSON by default.",
    responses=TABLE_RESPONSES | problems(*IMAGE_ERRORS, *RECOGNITION_ERRORS),
    openapi_extra=needs(Scope.AI) | {"requestBody": image_request_body()},
)
@streams_body
async def recognise_tables(
    request: Request, body: ImageBodyDep, service: RecognitionServiceDep, query: Annotated[TableQuery, Query()]
) -> Response:
    """Read an image as `POST /ocr` does, and return each page as rows of cells, made by AsposeAI's table processor.

    The call needs no language model, and a loaded model stays loaded. The processor treats the whole page as one table.
    Without a licence the engine cuts every page to its first rows or to none; then `truncated_by_evaluation`, or the
    header `X-Truncated-By-Evaluation`, is true.
    """
    accept = request.headers.getlist("accept")
    chosen_table_format(query.format, accept)  # an error of the header is reported before the image is received
    service.require_available(tables=True)
    async with service.receive_one(body, TableQuery.names()) as received:
        query = with_form_fields(query, request.query_params, received.fields)
        answer_format = chosen_table_format(query.format, accept)
        image = await service.image(request, received)
        options = query.to_table_options(answer_format.document)
        recognition = await cancel_on_disconnect(request, service.recognise(image, options))
        tables = describe_tables(recognition)
        warnings = warnings_header((page.number, page.warnings) for page in tables.pages)
        headers = {TRUNCATED: str(tables.truncated_by_evaluation).lower(), **warnings}
        if document_format := answer_format.document:
            return await document_response(recognition, document_format, headers)
        return Response(tables.model_dump_json(), headers=headers, media_type=JSON)
