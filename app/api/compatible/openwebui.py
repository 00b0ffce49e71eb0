"""`PUT /process`: the content extraction of Open WebUI, which calls it the external document loader."""

from typing import Annotated
from urllib.parse import unquote

from fastapi import APIRouter, Header, Request, Response

from app.api.compatible.reading import CompatibleReadingDep, answer
from app.api.http.auth import GuardedRoute, needs
from app.api.http.checks.body_streams import streams_body
from app.api.http.keys import Scope

router = APIRouter(route_class=GuardedRoute, include_in_schema=False)


@router.put("/process", openapi_extra=needs(Scope.AI))
@streams_body
async def process_document(
    request: Request, reading: CompatibleReadingDep, x_filename: Annotated[str, Header()] = ""
) -> Response:
    """Recognise the file in the body. The answer is a list with the text of each page.

    `page` in the metadata counts from 0, as Open WebUI expects it for citations.
    """
    async with reading.read(request, request.stream()) as recognition:
        documents = [
            {
                "page_content": page["text"],
                "metadata": {"source": unquote(x_filename), "page": page["number"] - 1},
            }
            for page in recognition.pages
        ]
        return answer(documents, recognition)
