"""Requests for jobs that have nothing to read: they are refused with advice, and create no job."""

import io
import zipfile
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.clients.answers import problem_of
from tests.support.clients.tus import upload_metadata
from tests.support.service import RunningService

ZIP = {"content-type": "application/zip"}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("empty-requests")
    with RunningService(folder, engine_class="tests.support.engines:Reads") as service:
        yield service.wait_until_ready()


def empty_archive() -> bytes:
    written = io.BytesIO()
    zipfile.ZipFile(written, "w").close()
    return written.getvalue()


@pytest.mark.parametrize(
    ("request_parts", "slug", "words"),
    [
        ({}, "invalid-request", "the body is empty; send an image"),
        ({"headers": ZIP}, "invalid-request", "the body is empty; send an image"),
        ({"content": iter([b""]), "headers": {"content-type": "image/png"}}, "invalid-request", "the body is empty"),
        ({"content": empty_archive(), "headers": ZIP}, "unsupported-archive", "Put at least one image or document in"),
        ({"files": [("file", ("a.zip", empty_archive()))]}, "unsupported-archive", "'a.zip'"),
        ({"files": [("language", (None, b"deu"))]}, "unsupported-form", "it has no file"),
        ({"json": {}}, "invalid-request", "'uploads', with the ids of finished uploads"),
        ({"json": {"urls": []}}, "invalid-request", "a list of URLs, with one at least"),
        ({"json": {"uploads": []}}, "invalid-request", "ids of uploads"),
    ],
    ids=["nothing", "zip without bytes", "chunks", "zip", "form with zip", "form", "json", "urls", "uploads"],
)
@pytest.mark.parametrize("path", ["/ocr/jobs", "/ocr"])
def test_a_request_without_files_creates_no_job(
    service: RunningService, path: str, request_parts: dict[str, Any], slug: str, words: str
) -> None:
    """A job is refused with 422 and advice, at both addresses, and nothing is left in the folder of jobs."""
    parts = request_parts | {"headers": {"prefer": "respond-async"} | request_parts.get("headers", {})}

    answer = service.client.post(path, **parts)

    assert problem_of(answer) == (422, slug)
    assert words in answer.json()["detail"]
    assert list((service.models_dir / ".store" / "jobs").iterdir()) == []


def test_an_empty_image_without_a_job(service: RunningService) -> None:
    answer = service.client.post("/ocr", headers={"content-type": "image/png"})

    assert (problem_of(answer), "the body is empty" in answer.json()["detail"]) == ((422, "invalid-request"), True)


def test_an_upload_has_a_size(service: RunningService) -> None:
    """The refusal of an empty upload does not speak of models, because the upload may be for a job."""
    headers = {"upload-length": "0", "upload-metadata": upload_metadata(purpose="images")}

    answer = service.client.post("/uploads", headers=headers)

    assert problem_of(answer) == (422, "invalid-request")
    assert answer.json()["errors"][0]["message"] == "a file cannot be empty; send its size in bytes"


@pytest.mark.parametrize("path", ["/ocr/jobs", "/pulls", "/uploads", "/ai/keywords"])
def test_a_wrong_idempotency_key_is_explained_in_words(service: RunningService, path: str) -> None:
    answer = service.client.post(path, json={}, headers={"idempotency-key": "two words"})

    assert problem_of(answer) == (422, "invalid-request")
    (found,) = [each for each in answer.json()["errors"] if each["where"][-1] == "idempotency-key"]
    assert found["message"] == "must have only visible ASCII characters, without spaces, such as a UUID"


def test_the_limit_of_an_idempotency_key_is_in_characters(service: RunningService) -> None:
    answer = service.client.post("/ocr/jobs", content=b"read a", headers={"idempotency-key": "k" * 300})

    assert problem_of(answer) == (422, "invalid-request")
    assert answer.json()["errors"][0]["message"] == "must have at most 255 characters"


@pytest.mark.parametrize("name", ["priority", "webhook"])
def test_an_option_in_the_wrong_place_is_explained(service: RunningService, name: str) -> None:
    """Options of jobs on texts belong in the query, where another operation has them in its JSON."""
    answer = service.client.post("/ai/spell-check", json={"texts": ["a"], name: "low"})

    assert problem_of(answer) == (422, "invalid-request")
    (found,) = answer.json()["errors"]
    assert found["where"] == ["body", name]
    assert found["message"].startswith("it belongs in the query, not the JSON body")


def test_an_upload_without_a_name_is_for_a_job(service: RunningService) -> None:
    answer = service.client.post("/uploads", headers={"upload-length": "3"})

    assert problem_of(answer) == (422, "invalid-request")
    assert "for a file of a job, it needs the purpose 'images'" in answer.json()["detail"]
