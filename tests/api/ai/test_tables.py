"""`POST /ai/table` with the real engine, on tables that the tests draw."""

import csv
import io
from collections.abc import Iterator

import httpx
import openpyxl
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.files import pictures, tiny_gguf
from tests.support.service import RunningService
from tests.support.supervised import NATIVE

pytestmark = [
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring the native libraries"),
    pytest.mark.timeout(600),
]

FRUIT = (
    ("Name", "Amount", "Currency"),
    ("Apples", "12", "EUR"),
    ("Oranges", "37", "USD"),
    ("Bananas", "58", "GBP"),
    ("Cherries", "41", "CHF"),
    ("Lemons", "91", "EUR"),
)
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with a model in its folder, which tables do not need."""
    with RunningService(tmp_path_factory.mktemp("tables"), native_dir=NATIVE) as running:
        running.client.timeout = httpx.Timeout(150)
        tiny_gguf.write(running.models_dir / DEFAULT_MODEL)
        yield running.wait_until_ready()


def test_a_table_leaves_what_is_loaded_as_it_is(service: RunningService) -> None:
    """A table is answered row by row, as far as the unlicensed engine reads, and the loaded model stays loaded."""

    def corrected(text: str) -> str:
        answer = service.client.post("/ai/spell-check", json={"texts": [text]}).raise_for_status()
        return str(answer.json()["results"][0]["text"])

    assert corrected("one") == tiny_gguf.ANSWER
    pid = service.engine()["pid"]

    image = pictures.encoded("image/png", pictures.table(*FRUIT))
    answer = service.client.post("/ai/table", content=image, headers=PNG).raise_for_status().json()

    (page,) = answer["pages"]
    assert page["number"] == 1
    assert page["truncated_by_evaluation"]
    assert answer["truncated_by_evaluation"]
    assert page["rows"][:2] == [list(row) for row in FRUIT[:2]]
    assert corrected("one\ntwo") == f"{tiny_gguf.ANSWER}\n{tiny_gguf.ANSWER}"
    assert (service.engine()["pid"], service.engine()["loaded"]["processor"]) == (pid, "spell-check")
    assert list(service.state_dir.rglob("call-*")) == []


@pytest.mark.slow
def test_a_table_for_a_spreadsheet(service: RunningService) -> None:
    """As CSV and XLSX a table has the cells of the JSON answer."""
    image = pictures.encoded("image/png", pictures.table(*FRUIT))
    rows = service.client.post("/ai/table", content=image).raise_for_status().json()["pages"][0]["rows"]
    assert rows

    for option, media_type in ((None, "text/csv"), ("xlsx", XLSX)):
        headers, query = {"accept": "text/csv"}, {"format": option} if option else {}
        answer = service.client.post("/ai/table", params=query, content=image, headers=headers).raise_for_status()
        assert answer.headers["content-type"].partition(";")[0] == media_type
        if media_type == XLSX:
            (sheet,) = openpyxl.load_workbook(io.BytesIO(answer.content)).worksheets
            found = [[cell or "" for cell in row] for row in sheet.iter_rows(values_only=True)]
        else:
            found = list(csv.reader(io.StringIO(answer.text)))
        assert [[cell for cell in row if cell] for row in found] == [[cell for cell in row if cell] for row in rows]
        assert answer.headers["x-truncated-by-evaluation"] == "true"


@pytest.mark.slow
def test_pages_without_a_model(service: RunningService) -> None:
    """Each requested page of a document is a separate table, and no model is loaded."""
    service.client.post("/engine/release").raise_for_status()
    service.wait_until_ready()
    prose = pictures.page("Just prose is on this page", "and nothing else at all")
    fewer = [(row[0], row[2]) for row in FRUIT]
    document = pictures.encoded("image/tiff", prose, pictures.table(*FRUIT), pictures.table(*fewer))

    form = {"file": ("scan", document, "image/tiff")}
    answer = service.client.post("/ai/table", params={"pages": "2-3"}, files=form).raise_for_status().json()

    assert [page["number"] for page in answer["pages"]] == [2, 3]
    assert answer["pages"][0]["rows"][0] == list(FRUIT[0])
    assert answer["pages"][1]["rows"][0] == list(fewer[0])
    assert service.engine()["loaded"] is None


def test_an_image_that_is_none(service: RunningService) -> None:
    """Bytes that are not an image answer 422 `image-unreadable`."""
    refused = service.client.post("/ai/table", content=b"noise", headers=PNG)

    assert problem_of(refused) == (422, "image-unreadable")


def test_without_the_native_libraries(serve: Serve) -> None:
    """If the engine lacks the capability `ai`, `POST /ai/table` answers 501."""
    service = serve(engine_class="tests.support.engines:LacksAi").wait_until_ready()

    refused = service.client.post("/ai/table", content=b"x", headers=PNG)

    assert (refused.status_code, refused.json()["capability"]) == (501, "ai")
