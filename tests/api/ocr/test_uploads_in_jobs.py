"""Finished tus uploads as the files of jobs: they become the job's without being copied, or stay uploads."""

import hashlib
import io
import signal
import zipfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.http.keys import Scope, entry_for
from app.jobs.units.new_units import RECEIVED_SUFFIX
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.tus import append, upload_metadata, uploader
from tests.support.mounts import seen_by, with_mounts
from tests.support.service import RunningService
from tests.support.waiting import eventually

READS = "tests.support.engines:Reads"
MAX_BYTES = 4096


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]) -> Iterator[RunningService]:
    limits: dict[str, Any] = {"max_image_files": 8, "max_image_bytes": MAX_BYTES}
    with RunningService(tmp_path_factory.mktemp("uploads"), engine_class=READS, **limits, **jobs_settings) as service:
        yield service.wait_for_queue()


@pytest.fixture
def service(running: RunningService) -> Iterator[RunningService]:
    """The service; afterwards it has no upload."""
    yield running.wait_until_ready()
    for upload_id in listed(running):
        running.client.delete(f"/uploads/{upload_id}")


def begun(service: RunningService, size_bytes: int, **metadata: str) -> str:
    """Create an upload for a job, and return its path."""
    fields = {"upload-length": str(size_bytes), "upload-metadata": upload_metadata(purpose="images", **metadata)}
    return str(service.client.post("/uploads", headers=fields).raise_for_status().headers["location"])


def uploaded(service: RunningService, content: bytes, **metadata: str) -> str:
    """Upload a file for a job, and return the upload's id."""
    path = begun(service, len(content), **metadata)
    answer = append(service, path, 0, content)
    assert (answer.status_code, answer.headers["upload-offset"]) == (204, str(len(content))), answer.text
    assert "content-location" not in answer.headers
    return path.rpartition("/")[2]


def listed(service: RunningService) -> list[str]:
    return [upload["id"] for upload in service.client.get("/uploads").raise_for_status().json()["uploads"]]


def post(service: RunningService, *ids: str, **members: object) -> Any:
    headers = {"idempotency-key": str(members.pop("key"))} if "key" in members else {}
    return service.client.post("/ocr/jobs", json={"uploads": list(ids)} | members, headers=headers)


def results_of(service: RunningService, location: str) -> list[tuple[str | None, str]]:
    """Wait for the end of a job, and return the name and the text of each file."""
    assert eventually(lambda: bool(service.client.get(location).raise_for_status().json()["finished_at"]))
    results = service.client.get(f"{location}/results").raise_for_status().json()["results"]
    return [(result["name"], result["recognition"]["text"]) for result in results]


def archive(members: dict[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as opened:
        for name, content in members.items():
            opened.writestr(name, content)
    return file.getvalue()


def test_a_tus_client_uploads_the_files_of_a_job(service: RunningService) -> None:
    """The files of a real tus client become those of a job, in the order of the request, and the uploads are gone."""
    contents = [b"read the first", b"read the second"]
    ids = []
    for number, content in enumerate(contents):
        digest = hashlib.sha256(content).hexdigest()
        tus = uploader(service, content, chunk_size=5, filename=f"../{number}.png", sha256=digest, purpose="images")
        tus.upload()
        ids.append(str(tus.url).rpartition("/")[2])
    shown = {upload["id"]: upload for upload in service.client.get("/uploads").json()["uploads"]}
    assert shown.keys() == set(ids)
    assert (shown[ids[0]]["name"], shown[ids[0]]["purpose"], shown[ids[0]]["published"]) == (
        "../0.png",
        "images",
        False,
    )
    assert shown[ids[0]]["offset"] == shown[ids[0]]["size_bytes"]
    assert service.client.get("/models").json()["models"] == []

    answer = post(service, *reversed(ids), language="deu")

    assert answer.status_code == 202
    assert (answer.json()["request"]["files"], answer.json()["request"]["language"]) == (2, "deu")
    assert listed(service) == []
    assert service.client.get(f"/uploads/{ids[0]}").status_code == 404
    location = answer.headers["location"]
    assert results_of(service, location) == [("../1.png", "the second"), ("../0.png", "the first")]


def test_a_form_names_uploads_of_archives(service: RunningService) -> None:
    """The field `uploads` of a form has ids with commas between them; an archive becomes the files that it has."""
    ids = [uploaded(service, archive({"a.png": b"read a", "b.png": b"read b"})), uploaded(service, b"read c")]
    form = {"uploads": ", ".join(ids), "language": "deu"}
    parts = [(name, (None, value)) for name, value in form.items()]
    answer = service.client.post("/ocr", files=parts, headers={"prefer": "respond-async"}).raise_for_status()

    assert results_of(service, answer.headers["location"]) == [("a.png", "a"), ("b.png", "b"), (None, "c")]
    assert listed(service) == []


def test_the_request_may_be_sent_again(service: RunningService) -> None:
    """With its key the request gets its job, although the uploads are gone; another request with the key is refused."""
    upload_id = uploaded(service, b"read once")
    first = post(service, upload_id, key="uploads-1").raise_for_status()

    again = post(service, upload_id, key="uploads-1")

    assert (again.status_code, again.json()["id"]) == (202, first.json()["id"])
    assert problem_of(post(service, upload_id, key="uploads-1", language="deu")) == (422, "idempotency-key-reused")
    assert problem_of(post(service, upload_id)) == (422, "upload-unusable")


def test_an_upload_stays_if_no_job_is_created(service: RunningService) -> None:
    """A refusal after the file was taken leaves the upload as it was, and the next request can use it."""
    upload_id = uploaded(service, archive({f"{number}.png": b"read x" for number in range(9)}))
    good = uploaded(service, b"read good")
    large = uploaded(service, b"x" * (MAX_BYTES + 1))

    assert problem_of(post(service, good, upload_id)) == (422, "unsupported-archive")
    assert problem_of(post(service, good, large)) == (413, "body-too-large")

    assert set(listed(service)) == {upload_id, good, large}
    folders = [path.name for path in (service.models_dir / ".store" / "jobs").iterdir() if path.is_dir()]
    assert sorted(folders) == sorted(job["id"] for job in service.client.get("/ocr/jobs?limit=1000").json()["jobs"])
    assert results_of(service, post(service, good).raise_for_status().headers["location"]) == [(None, "good")]


def test_unknown_unfinished_and_model_uploads_are_refused(service: RunningService) -> None:
    """Ids that are unknown, unfinished or of models are refused, each with what to do."""
    unfinished = begun(service, 10).rpartition("/")[2]
    model = service.client.post(
        "/uploads", headers={"upload-length": "9", "upload-metadata": upload_metadata(filename="a.bin")}
    ).raise_for_status()
    reasons = {
        unfinished: "0 of its 10 bytes have arrived",
        model.json()["id"]: "'images' in Upload-Metadata",
        "0" * 32: "no such upload of yours",
        "../x": "no such upload of yours",
    }
    for upload_id, reason in reasons.items():
        answer = post(service, upload_id)
        assert problem_of(answer) == (422, "upload-unusable")
        assert reason in answer.json()["detail"]
    wrong: list[dict[str, Any]] = [
        {"uploads": []},
        {"uploads": ["a", "a"]},
        {"uploads": [1]},
        {"uploads": ["a\0b"]},
        {"uploads": ["a"], "urls": ["b"]},
    ]
    for members in wrong:
        assert problem_of(service.client.post("/ocr/jobs", json=members)) == (422, "invalid-request")
    both: list[Any] = [("uploads", (None, unfinished)), ("file", ("a.png", b"read a"))]
    assert problem_of(service.client.post("/ocr/jobs", files=both)) == (422, "unsupported-form")
    assert problem_of(service.client.post("/ocr", json={"uploads": [unfinished]})) == (422, "invalid-request")


def test_wrong_metadata_of_an_upload_is_refused_and_wrong_bytes_are_deleted(service: RunningService) -> None:
    """Another purpose and conditions on a model are refused; wrong bytes are deleted, as those of a model are."""
    length = {"upload-length": "4"}
    for headers in (
        {"upload-metadata": upload_metadata(purpose="pages")},
        {"upload-metadata": upload_metadata(purpose="images"), "if-none-match": "*"},
    ):
        assert problem_of(service.client.post("/uploads", headers=length | headers)) == (422, "invalid-request")
    path = begun(service, 4, sha256="0" * 64)
    assert problem_of(append(service, path, 0, b"read")) == (422, "digest-mismatch")
    assert listed(service) == []


def test_an_upload_belongs_to_its_key(serve_jobs: Serve, tmp_path: Path) -> None:
    """Another API key is told the same about an upload as about one that does not exist."""
    entries = [entry_for(key, [Scope.READ, Scope.WRITE, Scope.AI], f"ocr_{key}") for key in ("owner", "other")]
    (tmp_path / "keys.toml").write_text("".join(entries))
    service = serve_jobs(engine_class=READS, api_keys_file=tmp_path / "keys.toml")
    service.client.headers["authorization"] = "Bearer ocr_owner"
    other = {"authorization": "Bearer ocr_other"}
    upload_id = uploaded(service, b"read mine")

    answers = [service.client.post("/ocr/jobs", json={"uploads": [each]}, headers=other) for each in (upload_id, "x")]

    assert [problem_of(answer) for answer in answers] == [(422, "upload-unusable")] * 2
    assert len({answer.json()["detail"].replace(upload_id, "x") for answer in answers}) == 1
    assert post(service, upload_id).status_code == 202


def test_an_upload_becomes_one_job(serve: Serve) -> None:
    """Of simultaneous requests with one upload, at two services, one creates a job; the others are told why not."""
    services = [serve(engine_class=READS).wait_until_ready() for _ in range(2)]
    for number in range(5):
        upload_id = uploaded(services[0], f"read {number}".encode())
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(post, services * 4, [upload_id] * 8))

        (made,) = [answer for answer in answers if answer.status_code == 202]
        refused = [problem_of(answer) for answer in answers if answer is not made]
        assert refused == [(422, "upload-unusable")] * 7
        assert results_of(services[1], made.headers["location"]) == [(None, str(number))]
    assert listed(services[0]) == []
    assert [service.client.get("/ocr/jobs").json()["count"] for service in services] == [5, 5]
    assert len(list((services[0].models_dir / ".store/jobs").iterdir())) == 5


def test_an_upload_is_copied_where_it_cannot_be_linked(serve: Serve, tmp_path: Path) -> None:
    """If the jobs have a disk of their own, or it knows no links, an upload is copied; without room, it stays."""
    jobs = tmp_path / "models/.store/jobs"
    jobs.mkdir(parents=True)
    disk = with_mounts(f"mount -t tmpfs -o size=1m none {jobs}")
    service = serve(engine_class=READS, wrapper=disk).wait_until_ready()
    seen = seen_by(service.process.pid, jobs)
    small, large = uploaded(service, b"read small"), uploaded(service, b"x" * (2 << 20))

    full = post(service, small, large)
    left = list(seen.iterdir())
    location = post(service, small).raise_for_status().headers["location"]

    assert (problem_of(full), left) == ((507, "store-full"), [])
    assert results_of(service, location) == [(None, "small")]
    assert listed(service) == [large]


MOMENTS: dict[str, Callable[[Path], bool]] = {
    "sent": lambda _: True,
    "linked": lambda jobs: any(jobs.glob("*/in/0")),
    "created": lambda jobs: any(path.parent.suffix != RECEIVED_SUFFIX for path in jobs.glob("*/job.json")),
    "answered": lambda _: False,
}
"""When a service is killed: as soon as its folder of jobs is so, at the latest when it has answered."""


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_kill_loses_neither_the_upload_nor_the_job(serve_jobs: Serve, tmp_path: Path, moment: str) -> None:
    """A service that is killed while it makes a job of an upload has left the upload, or the job, or both."""
    service, gate = serve_jobs(engine_class=READS).wait_until_ready(), tmp_path / "gate"
    upload_id, jobs = uploaded(service, f"wait_for {gate}".encode()), tmp_path / "models/.store/jobs"
    with ThreadPoolExecutor(1) as caller:
        answer = caller.submit(post, service, upload_id)
        while not MOMENTS[moment](jobs) and not answer.done():
            pass  # a moment may be shorter than a rest
        service.stop(signal.SIGKILL)
        assert isinstance(answer.exception(), httpx.TransportError | None)
    gate.touch()

    after = serve_jobs(engine_class=READS).wait_until_ready()
    found = [job["id"] for job in after.client.get("/ocr/jobs").json()["jobs"]]
    is_left = upload_id in listed(after)
    assert len(found) <= 1
    assert found or is_left
    if moment in {"created", "answered"} or answer.exception() is None:
        assert found
    if moment == "answered":
        assert not is_left
    location = f"/ocr/jobs/{found[0]}" if found else post(after, upload_id).raise_for_status().headers["location"]
    assert results_of(after, location) == [(None, str(gate))]
