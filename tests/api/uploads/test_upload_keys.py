"""`Idempotency-Key` on POST /uploads: the same request with its key gets the same upload."""

import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from app.build import build_jobs
from app.jobs.sweep import STRAY_SECONDS, sweep_jobs
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawPost
from tests.support.clients.tus import CHUNK, append, begin, offset_of, upload_metadata
from tests.support.held_jobs import DAY, store_on
from tests.support.service import RunningService
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def cancel_uploads(service: RunningService) -> None:
    """Cancel the uploads that another test left unfinished."""
    for upload_id in listed(service):
        service.client.delete(f"/uploads/{upload_id}").raise_for_status()


def listed(service: RunningService) -> list[str]:
    return [upload["id"] for upload in service.client.get("/uploads").raise_for_status().json()["uploads"]]


def whole(service: RunningService, name: str, content: bytes, key: str) -> httpx.Response:
    """Create an upload whose request has all bytes."""
    fields = CHUNK | {"upload-length": str(len(content)), "upload-metadata": upload_metadata(filename=name)}
    return service.client.post("/uploads", content=content, headers=fields | {"idempotency-key": key})


def test_the_same_request_gets_the_same_upload(service: RunningService) -> None:
    """Also if it is sent several times at once, and after bytes have arrived; the answer has the present offset."""
    with ThreadPoolExecutor(4) as callers:
        posts = [callers.submit(begin, service, "a.bin", 10, idempotency_key="one") for _ in range(4)]
        answers = [each.result() for each in posts]
    assert {answer.status_code for answer in answers} == {201}
    (location,) = {answer.headers["location"] for answer in answers}
    append(service, location, 0, b"12345").raise_for_status()

    again = begin(service, "a.bin", 10, idempotency_key="one")

    assert (again.status_code, again.headers["location"], again.headers["upload-offset"]) == (201, location, "5")
    assert again.json()["offset"] == 5
    assert len(listed(service)) == 1
    other = begin(service, "b.bin", 10, idempotency_key="two").raise_for_status()
    assert other.headers["location"] != location


def test_another_request_with_the_key_is_refused(service: RunningService) -> None:
    """Another size, name, digest or condition with a key that was used creates nothing."""
    location = begin(service, "a.bin", 10, idempotency_key="refused").raise_for_status().headers["location"]
    others = [
        begin(service, "a.bin", 11, idempotency_key="refused"),
        begin(service, "b.bin", 10, idempotency_key="refused"),
        begin(service, "a.bin", 10, "0" * 64, idempotency_key="refused"),
        begin(service, "a.bin", 10, idempotency_key="refused", if_none_match="*"),
    ]
    assert {problem_of(answer) for answer in others} == {(422, "idempotency-key-reused")}
    assert others[0].json()["job_id"] in location
    assert len(listed(service)) == 1


def test_an_upload_that_is_published_is_found_again(service: RunningService) -> None:
    """The answer to a request that had the whole model is repeated, although the model's name is taken now."""
    first = whole(service, "whole.bin", b"a model", "whole").raise_for_status()

    again = whole(service, "whole.bin", b"a model", "whole").raise_for_status()

    assert again.headers["location"] == first.headers["location"]
    assert (again.json()["published"], again.headers["content-location"]) == (True, "/models/whole.bin")
    assert problem_of(whole(service, "whole.bin", b"a model", "another")) == (409, "model-exists")


def test_a_first_chunk_that_breaks_off_is_kept(service: RunningService) -> None:
    """Without a key, nobody would know the upload; with one, the request that is sent again tells its offset."""
    about = {
        "upload_length": 10,
        "upload_metadata": upload_metadata(filename="broken.bin"),
        "idempotency_key": "broken",
    }
    sent = {"content_type": CHUNK["content-type"], "content_length": 10}
    with RawPost(service, "/uploads", **about, **sent) as post:
        post.send(b"1234")
        eventually(lambda: len(listed(service)) == 1)

    def again() -> str | None:
        answer = begin(service, "broken.bin", 10, idempotency_key="broken").raise_for_status()
        return str(answer.headers["location"]) if answer.json()["offset"] == 4 and not answer.json()["active"] else None

    location = eventually(again)
    assert location
    assert append(service, location, 4, b"567890").headers["content-location"] == "/models/broken.bin"


def test_a_key_is_kept_for_as_long_as_its_upload(service: RunningService) -> None:
    """A sweep keeps the record of a key whose upload exists, and removes it after the upload is cancelled."""
    location = begin(service, "kept.bin", 10, idempotency_key="kept").raise_for_status().headers["location"]
    jobs = build_jobs(store_on(service.models_dir))
    (record,) = [each for each in jobs.volume.jobs_dir.glob("*.key") if location[-32:] in each.read_text()]
    old = time.time() - 2 * STRAY_SECONDS
    os.utime(record, (old, old))

    sweep_jobs(jobs, DAY)
    assert record.exists()
    service.client.delete(location).raise_for_status()
    sweep_jobs(jobs, DAY)
    assert not record.exists()

    new = begin(service, "kept.bin", 10, idempotency_key="kept").raise_for_status()
    assert new.headers["location"] != location
    assert offset_of(service, new.headers["location"]) == 0
