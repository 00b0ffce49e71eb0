"""OCR models that the engine holds, over HTTP, with an engine process that opens files."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from tests.support.clients.answers import problem_of
from tests.support.service import RunningService
from tests.support.waiting import eventually

MODEL, OTHER = "aspose-ocr-cyrillic-v1.ocr", "aspose-ocr-arabic-v1.ocr"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose engine opens the OCR models that the image names."""
    with RunningService(
        tmp_path_factory.mktemp("opener"), engine_class="tests.support.engines:OpensOcrModels"
    ) as running:
        yield running


@pytest.fixture
def service(reader: RunningService) -> RunningService:
    """Return the service, with a fresh engine process and two OCR models, of which one lies in a subfolder too."""
    reader.client.post("/engine/release")
    reader.clear().wait_until_ready()
    (reader.models_dir / "sub").mkdir()
    for name in (MODEL, OTHER, f"sub/{MODEL}"):
        (reader.models_dir / name).write_bytes(b"x" * 10_000)
    eventually(lambda: set(in_use(reader)) == {MODEL, OTHER, f"sub/{MODEL}"}, within=30)
    return reader


def in_use(service: RunningService) -> dict[str, bool]:
    return {each["name"]: each["in_use"] for each in service.client.get("/models").json()["models"]}


def read(service: RunningService, what: str, language: str = "rus") -> httpx.Response:
    """Send an image that says what to do. Recognition of Russian needs an OCR model, that of Latin none."""
    headers = {"content-type": "image/png"}
    return service.client.post("/ocr", content=what.encode(), headers=headers, params={"language": language})


def test_an_open_ocr_model_is_in_use_and_shown_and_not_deleted(service: RunningService) -> None:
    """What the process has open is shown by GET /engine and in use; deleting it is 409 with the engine as blocker."""
    read(service, f"map {MODEL}").raise_for_status()

    engine = service.engine()
    assert [each["model"] for each in engine["open_ocr_models"]] == [MODEL]
    assert engine["open_ocr_models"][0]["mapped_bytes"] >= 10_000
    eventually(lambda: in_use(service) == {MODEL: True, OTHER: False, f"sub/{MODEL}": False}, within=30)
    refused = service.client.delete(f"/models/{MODEL}")
    assert problem_of(refused) == (409, "model-in-use")
    (blocker,) = refused.json()["blockers"]
    assert (blocker["kind"], blocker["holder"], blocker["pid"]) == ("engine", "recognition", engine["pid"])
    assert service.client.delete(f"/models/{OTHER}").status_code == 200


def test_releasing_the_engine_lets_an_open_ocr_model_be_deleted(service: RunningService) -> None:
    """`release=true` ends the process that has the file open, and deletes the file."""
    read(service, f"open {MODEL}").raise_for_status()
    pid = service.engine()["pid"]
    assert service.engine()["open_ocr_models"] == [{"model": MODEL, "mapped_bytes": 0}]

    assert service.client.delete(f"/models/{MODEL}", params={"release": True}).status_code == 200

    service.wait_until_ready()
    engine = service.engine()
    assert engine["pid"] != pid
    assert engine["open_ocr_models"] == []
    assert MODEL not in in_use(service)


def test_every_ocr_model_is_in_use_while_a_recognition_runs_that_needs_one(service: RunningService) -> None:
    """A recognition that needs an OCR model may open any of the folder itself, so each is in use until it ends."""
    with ThreadPoolExecutor() as pool:
        running = pool.submit(read, service, "wait")
        eventually(lambda: in_use(service) == {MODEL: True, OTHER: True, f"sub/{MODEL}": False}, within=30)
        assert problem_of(service.client.delete(f"/models/{OTHER}")) == (409, "model-in-use")
        (service.models_dir / "go.option").touch()
        assert running.result().status_code == 200

    eventually(lambda: not any(in_use(service).values()), within=30)
    assert service.client.delete(f"/models/{OTHER}").status_code == 200


def test_a_recognition_that_needs_none_does_not_prevent_deletions(service: RunningService) -> None:
    """A recognition of Latin leases no OCR model, except one that the process has open all the same."""
    with ThreadPoolExecutor() as pool:
        running = pool.submit(read, service, f"hold {MODEL}", language="latin")
        eventually(lambda: in_use(service)[MODEL], within=30)
        assert problem_of(service.client.delete(f"/models/{MODEL}")) == (409, "model-in-use")
        assert not in_use(service)[OTHER]
        assert service.client.delete(f"/models/{OTHER}").status_code == 200
        (service.models_dir / "go.option").touch()
        assert running.result().status_code == 200

    eventually(lambda: not any(in_use(service).values()), within=30)
    assert service.client.delete(f"/models/{MODEL}").status_code == 200
