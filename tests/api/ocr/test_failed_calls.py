"""`POST /ocr` with an engine that does what the image says: die, hang, or return a text."""

from collections.abc import Iterator

import httpx
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.answers import problem_of
from tests.support.model_files import NO_TENSORS
from tests.support.service import RunningService
from tests.support.waiting import eventually

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose engine does what the image says."""
    folder = tmp_path_factory.mktemp("deaths")
    (folder / "models" / DEFAULT_MODEL).parent.mkdir(parents=True)
    (folder / "models" / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    with RunningService(folder, engine_class="tests.support.engines:Reads", recognition_timeout="1s") as running:
        yield running


@pytest.fixture
def ready(reader: RunningService) -> Iterator[RunningService]:
    """The service with a ready engine; afterwards the engine is ready again and no file of the image is left."""
    yield reader.wait_until_ready()
    reader.wait_until_ready()
    assert list(reader.state_dir.rglob("call-*")) == []


@pytest.mark.parametrize(
    ("image", "status", "slug"),
    [
        (b"abort", 502, "engine-died"),
        (b"hold_gil 30", 504, "engine-timed-out"),
        (b"say_nonsense", 502, "engine-died"),
        (b"environment", 422, "engine-call-failed"),
    ],
)
def test_an_image_that_the_engine_does_not_survive(ready: RunningService, image: bytes, status: int, slug: str) -> None:
    """An image that kills, hangs or fails the engine answers a documented problem, and listing works."""
    answer = ready.client.post("/ocr", content=image, headers=PNG)

    assert problem_of(answer) == (status, slug)
    assert ready.client.get("/models").status_code == 200


def test_a_caller_that_hangs_up_frees_the_engine(ready: RunningService) -> None:
    """A caller that disconnects ends the engine process at once, before the deadline."""
    pid = ready.engine()["pid"]

    with pytest.raises(httpx.ReadTimeout):
        ready.client.post("/ocr", content=b"hold_gil 30", headers=PNG, timeout=0.3)

    eventually(lambda: ready.engine()["pid"] not in {pid, None}, within=10)
    assert "went away" in ready.engine()["last_exit"]["reason"]


def test_the_text_is_corrected_when_asked_for(ready: RunningService) -> None:
    """With `correct`, JSON has the recognised and the corrected text, plain text only the latter; PDF answers 422."""
    answer = ready.client.post("/ocr?correct=true", content=b"read a quik fox", headers=PNG).raise_for_status().json()

    (page,) = answer["pages"]
    assert (answer["text"], page["text"]) == ("A QUIK FOX", "a quik fox")
    assert page["corrected"] == {"text": "A QUIK FOX", "diff": None, "error": None}
    as_text = PNG | {"accept": "text/plain"}
    assert ready.client.post("/ocr?correct=true", content=b"read a fox", headers=as_text).text == "A FOX"
    as_pdf = PNG | {"accept": "application/pdf"}
    assert ready.client.post("/ocr?correct=true", content=b"read a fox", headers=as_pdf).status_code == 422


def test_a_correction_that_fails_costs_nothing_that_was_recognised(ready: RunningService) -> None:
    """If the correction fails, JSON has the recognised text and the problem; plain text answers 422."""
    answer = ready.client.post("/ocr?correct=true", content=b"read fail:no", headers=PNG).raise_for_status().json()

    (page,) = answer["pages"]
    assert (page["text"], page["corrected"]["text"]) == ("fail:no", None)
    assert page["corrected"]["error"]["type"].endswith(":engine-call-failed")
    as_text = PNG | {"accept": "text/plain"}
    assert ready.client.post("/ocr?correct=true", content=b"read fail:no", headers=as_text).status_code == 422


def test_no_correction_without_a_model(ready: RunningService) -> None:
    """With `correct` but without the model, the answer is 409 before the image is read."""
    model = ready.models_dir / DEFAULT_MODEL
    model.rename(model.with_suffix(".aside"))

    answer = ready.client.post("/ocr?correct=true", content=b"abort", headers=PNG)

    assert problem_of(answer) == (409, "engine-model-missing")
    model.with_suffix(".aside").rename(model)
