"""Options of `POST /ocr`: how they reach the engine, which answers with what it was asked, and which are refused."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from app.engine.contract.document_formats import DocumentFormat
from tests.support.clients.answers import problem_of
from tests.support.service import RunningService


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("options")
    with RunningService(folder, engine_class="tests.support.engines:Reads", recognition_timeout="60s") as running:
        yield running.wait_until_ready()


def asked(service: RunningService, **query: str) -> dict[str, Any]:
    """Return the options that the engine is asked for with a query."""
    answer = service.client.post("/ocr", params=query, content=b"options")
    options: dict[str, Any] = json.loads(answer.raise_for_status().json()["text"])
    return options


@pytest.mark.parametrize(
    ("pages", "ranges"),
    [
        ("3", [(3, 3)]),
        ("2-5", [(2, 5)]),
        ("1,3,5-", [(1, 1), (3, 3), (5, None)]),
    ],
)
def test_pages_are_ranges(service: RunningService, pages: str, ranges: list[tuple[int, int | None]]) -> None:
    """Several pages and ranges can be named; a range without an end is open."""
    assert asked(service, pages=pages)["pages"] == [{"first": first, "last": last} for first, last in ranges]


def test_filters_keep_their_order_and_values(service: RunningService) -> None:
    """Filters reach the engine in order, with their values, and the answer names them."""
    text = "median,threshold:128,scale:1.5,resize:900x300,rotate:-90,invert"

    assert [(each["name"], each["values"]) for each in asked(service, filters=text)["filters"]] == [
        ("median", []),
        ("threshold", [128]),
        ("scale", [1.5]),
        ("resize", [900, 300]),
        ("rotate", [-90]),
        ("invert", []),
    ]
    answer = service.client.post("/ocr", params={"filters": text}, content=b"options")
    assert answer.json()["settings"]["filters"] == text.split(",")


def test_other_options_reach_the_engine(service: RunningService) -> None:
    """Regions, characters, kind, mode, skew and dictionary reach the engine."""
    options = asked(
        service,
        regions="10,20,300,40/0,0,1,1",
        allowed_characters="0123456789,/",
        ignored_characters="O",
        detect_skew="true",
        correct="dictionary",
        language="deu",
    )

    assert options["regions"] == [
        {"x": 10, "y": 20, "width": 300, "height": 40},
        {"x": 0, "y": 0, "width": 1, "height": 1},
    ]
    assert (options["allowed_characters"], options["ignored_characters"]) == ("0123456789,/", "O")
    assert (options["detects_skew"], options["dictionary"]) == (True, "deu")
    assert asked(service, kind="id_card")["kind"] == "id_card"
    assert asked(service, mode="fast")["mode"] == "fast"
    assert asked(service)["dictionary"] is None


@pytest.mark.parametrize(
    ("query", "option", "message"),
    [
        ({"pages": "2-1"}, "pages", "smaller number first"),
        ({"pages": "1,,2"}, "pages", "such as 3 or 2-5 or 1,3,5-"),
        ({"pages": ",".join(["1"] * 101)}, "pages", "at most 100"),
        ({"filters": "medain"}, "filters", "did you mean 'median'?"),
        ({"filters": "median,sharpen:2"}, "filters", "there is no filter 'sharpen'"),
        ({"filters": "rotate:90,median,rotate:90"}, "filters", "applies the filter rotate only once"),
        ({"filters": "median:3"}, "filters", "takes no value"),
        ({"filters": "scale:nan"}, "filters", "a number from 0.05 to 20, such as scale:2"),
        ({"filters": "threshold"}, "filters", "a whole number from 0 to 255"),
        ({"filters": "resize:30"}, "filters", "two whole numbers"),
        ({"filters": ",".join(["median"] * 11)}, "filters", "at most 10"),
        ({"regions": "1,2,3"}, "regions", "x,y,width,height"),
        ({"regions": "1,2,0,4"}, "regions", "x,y,width,height"),
        ({"kind": "recipe"}, "kind", "did you mean 'receipt'?"),
        ({"kind": "line", "areas": "lean"}, "areas", "ignores it with kind=line"),
        ({"kind": "passport", "allowed_characters": "A"}, "allowed_characters", "ignores it with kind=passport"),
        ({"kind": "handwriting", "language": "deu"}, "language", "ignores it with kind=handwriting"),
        ({"mode": "fast", "kind": "receipt"}, "kind", "ignores it with mode=fast"),
        ({"mode": "fast", "regions": "1,2,3,4"}, "regions", "ignores it with mode=fast"),
        ({"regions": "1,2,3,4", "auto_skew": "true"}, "auto_skew", "ignores it with regions"),
        ({"correct": "dictionary"}, "correct", "no dictionary for language=latin; there are: ces, dan, deu"),
    ],
)
def test_options_that_are_wrong_or_would_be_ignored(
    service: RunningService, query: dict[str, str], option: str, message: str
) -> None:
    """Each such option is named, with a sentence that says what is allowed."""
    answer = service.client.post("/ocr", params=query, content=b"options")

    assert problem_of(answer) == (422, "invalid-request")
    (error,) = answer.json()["errors"]
    assert error["where"] == ["query", option]
    assert message in error["message"]


def test_documents_without_corrections(service: RunningService) -> None:
    """Corrections give JSON and text only."""
    query = {"correct": "dictionary", "language": "eng"}
    answer = service.client.post("/ocr", params=query, content=b"options", headers={"accept": "application/pdf"})

    assert problem_of(answer) == (422, "invalid-request")


@pytest.mark.parametrize("document_format", DocumentFormat)
def test_documents_in_the_fast_mode(service: RunningService, document_format: DocumentFormat) -> None:
    """In the fast mode, which gives no places of lines, there are those documents that state no places."""
    answer = service.client.post("/ocr", params={"mode": "fast", "format": document_format}, content=b"read a fox")

    if document_format in {"markdown", "html", "docx", "rtf", "epub"}:
        assert answer.raise_for_status().text == "a fox"
    else:
        assert problem_of(answer) == (422, "invalid-request")
        (error,) = answer.json()["errors"]
        assert error["where"] == ["query", "mode"]
        assert "docx, epub, html, markdown, rtf, JSON or text" in error["message"]


def test_a_job_is_corrected_by_a_dictionary(service: RunningService) -> None:
    """A job takes `correct=dictionary`, which needs no further turn of the engine."""
    answer = service.client.post(
        "/ocr?correct=dictionary&language=eng", content=b"options", headers={"prefer": "respond-async"}
    )

    assert answer.status_code == 202
