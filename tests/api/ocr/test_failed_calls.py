"""`POST /ocr` with an engine that does what the image says: die, hang, or return a text."""

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawPost
from tests.support.files.model_files import NO_TENSORS
from tests.support.service import RunningService
from tests.support.waiting import eventually

PNG = {"content-type": "image/png"}


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose engine does what the image says."""
    folder = tmp_path_factory.mktemp("deaths")
    (folder / "models" / DEFAULT_MODEL).parent.mkdir(parents=True)
    (folder / "models" / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    with RunningService(folder, engine_class="tests.support.engines:Reads", recognition_timeout="3s") as running:
        yield running


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """The same with a memory limit of 200 MiB and a deadline that no test waits for."""
    folder = tmp_path_factory.mktemp("growth")
    (folder / "models" / DEFAULT_MODEL).parent.mkdir(parents=True)
    (folder / "models" / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    limits = {"engine_memory_limit": 200 << 20, "recognition_timeout": "100s"}
    with RunningService(folder, engine_class="tests.support.engines:Reads", **limits) as running:  # type: ignore[arg-type]
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


def test_an_image_that_needs_too_much_memory(limited: RunningService) -> None:
    """An image that makes the engine grow without end gets 507, long before the deadline, and the engine comes back."""
    limited.wait_until_ready()
    held = psutil.Process(limited.process.pid).memory_info().rss

    answer = limited.client.post("/ocr", content=b"grow 8000000 0.02", headers=PNG)

    assert problem_of(answer) == (507, "engine-out-of-memory")
    assert answer.json()["limit_bytes"] == 200 << 20 == limited.engine()["memory_limit_bytes"]
    limited.wait_until_ready()
    assert limited.client.post("/ocr", content=b"read a fox", headers=PNG).json()["text"] == "a fox"
    assert "bytes of memory" in limited.engine()["last_exit"]["reason"]
    metrics = limited.client.get("/metrics").text
    assert 'ocr_engine_exits_total{cause="memory"} 1.0' in metrics
    assert psutil.Process(limited.process.pid).memory_info().rss - held < 20 << 20


def test_a_text_that_needs_too_much_memory(limited: RunningService) -> None:
    """Among several texts only the one that grows without end fails, with 507 as its problem."""
    texts = {"texts": ["a", "grow:8000000", "b"]}
    answer = limited.wait_until_ready().client.post("/ai/spell-check", json=texts).raise_for_status().json()

    first, grown, last = answer["results"]
    assert (first["text"], last["text"]) == ("A", "B")
    assert (grown["error"]["status"], "memory" in grown["error"]["detail"]) == (507, True)


@pytest.mark.parametrize("image", [b"abort", b"hold_gil 30", None])
def test_the_next_image_waits_for_the_next_process(ready: RunningService, image: bytes | None) -> None:
    """Right after a crash, a deadline or a release, an image waits for the next process and is read."""
    for _ in range(2):
        if image:
            ready.client.post("/ocr", content=image, headers=PNG)
        else:
            ready.client.post("/engine/release").raise_for_status()
        engine = ready.engine()
        if engine["state"] != "ready":
            assert engine["reason"]

        assert ready.client.post("/ocr", content=b"read a fox", headers=PNG).status_code == 200


def test_a_caller_that_hangs_up_frees_the_engine(limited: RunningService, tmp_path: Path) -> None:
    """A caller that disconnects ends the engine process at once, before the deadline."""
    pid, begun = limited.wait_until_ready().engine()["pid"], tmp_path / "begun"
    image = f"hold {begun}".encode()

    with RawPost(limited, "/ocr", content_type="image/png", content_length=len(image)) as caller:
        caller.send(image)
        eventually(begun.exists)

    eventually(lambda: limited.engine()["pid"] not in {pid, None})
    assert "was cancelled" in limited.engine()["last_exit"]["reason"]
    assert list(limited.state_dir.rglob("call-*")) == []


def test_the_text_is_corrected_when_asked_for(ready: RunningService) -> None:
    """With `correct`, JSON has the recognised and the corrected text, plain text only the latter; PDF answers 422."""
    answer = ready.client.post("/ocr?correct=true", content=b"read a quik fox", headers=PNG).raise_for_status().json()

    (page,) = answer["pages"]
    assert (answer["text"], page["text"]) == ("A QUIK FOX", "a quik fox")
    assert page["corrected"] == {"text": "A QUIK FOX", "diff": None, "uncorrected_lines": [], "error": None}
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
