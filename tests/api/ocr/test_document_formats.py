"""Which document `Accept` asks for, and how it is answered, with an engine that writes the asked text into it."""

from collections.abc import Iterator
from typing import Any

import pytest

from app.api.images.documents import DOCUMENT_FORMATS, TABLE_FORMATS, AnswerFormat, TableFormat
from app.engine.contract.document_formats import MEDIA_TYPE_OF_DOCUMENT, DocumentFormat
from tests.support.clients.answers import problem_of
from tests.support.service import RunningService


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("documents")
    with RunningService(folder, engine_class="tests.support.engines:Reads", recognition_timeout="60s") as running:
        yield running.wait_until_ready()


@pytest.mark.parametrize(
    ("path", "media_type"),
    [*(("/ocr", each) for each in DOCUMENT_FORMATS), *(("/ai/table", each) for each in TABLE_FORMATS)],
)
def test_each_media_type_has_its_document(service: RunningService, path: str, media_type: str) -> None:
    """The answer is the document with its media type, a file name, and whether the text was cut."""
    answer = service.client.post(path, content=b"read hello", headers={"accept": media_type}).raise_for_status()

    assert answer.text == "hello"
    assert answer.headers["content-type"].partition(";")[0] == media_type
    assert answer.headers["content-disposition"].startswith('attachment; filename="recognised.')
    assert answer.headers["x-truncated-by-evaluation"] == "false"


@pytest.mark.parametrize("path", ["/ocr", "/ai/table"])
def test_json_is_the_default(service: RunningService, path: str) -> None:
    """Without `Accept`, and with `*/*`, the answer is JSON; an unknown media type is refused with the known ones."""
    answer = service.client.post(path, content=b"read hello").raise_for_status()
    assert answer.json()["pages"][0]["number"] == 1
    assert "content-disposition" not in answer.headers

    refused = service.client.post(path, content=b"read hello", headers={"accept": "image/png"})
    assert problem_of(refused) == (406, "not-acceptable")
    assert "text/csv" in refused.json()["detail"]


def test_the_option_names_the_format_of_tables(service: RunningService) -> None:
    """`format` counts more than `Accept` for tables too, in the query and in a form; other values are refused."""
    image = b"read hello"
    for option in TableFormat:
        answer = service.client.post("/ai/table", params={"format": option}, content=image).raise_for_status()
        expected = MEDIA_TYPE_OF_DOCUMENT[option.document] if option.document else "application/json"
        assert answer.headers["content-type"].partition(";")[0] == expected
    form: dict[str, Any] = {"file": ("page.png", image), "format": (None, "xlsx")}
    answer = service.client.post("/ai/table", files=form, headers={"accept": "text/csv"}).raise_for_status()
    assert answer.headers["content-disposition"] == 'attachment; filename="recognised.xlsx"'

    refused = service.client.post("/ai/table", params={"format": "pdf"}, content=image)
    assert problem_of(refused) == (422, "invalid-request")
    assert "xlsx" in str(refused.json())


def test_the_option_names_the_format(service: RunningService) -> None:
    """`format` counts more than `Accept`, in the query and in a form, and each of its values has an answer."""
    for option in AnswerFormat:
        answer = service.client.post("/ocr", params={"format": option}, content=b"read hello").raise_for_status()
        plain = {AnswerFormat.JSON: "application/json", AnswerFormat.TEXT: "text/plain"}
        expected = plain.get(option) or MEDIA_TYPE_OF_DOCUMENT[DocumentFormat(option.value)]
        assert answer.headers["content-type"].partition(";")[0] == expected
    form: dict[str, Any] = {"file": ("page.png", b"read hello"), "format": (None, "csv")}
    answer = service.client.post("/ocr", files=form, headers={"accept": "application/pdf"}).raise_for_status()
    assert answer.headers["content-type"].partition(";")[0] == "text/csv"

    refused = service.client.post("/ocr", params={"format": "mobi"}, content=b"read hello")
    assert problem_of(refused) == (422, "invalid-request")
    assert "pdf_text" in str(refused.json())
    job = service.client.post(
        "/ocr", params={"format": "pdf"}, content=b"read hello", headers={"prefer": "respond-async"}
    )
    assert problem_of(job) == (422, "invalid-request")
