"""`/uploads`: the tus 1.0 protocol over HTTP, with a real tus client where possible."""

import base64
import hashlib
import random
import secrets
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.store.expiry import Expiry, FolderClock
from app.store.incoming.partials import PartialRecord
from app.store.incoming.staging import Staging
from app.store.volume.claims import Claims
from app.store.volume.volume import Volume
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawPatch, RawPost
from tests.support.clients.tus import CHUNK, append, begin, begun, offset_of, upload_metadata, uploader
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

MIB = 1 << 20
CONTENT = random.Random(1).randbytes(6 * MIB + 1)  # noqa: S311 - equal in every run
SHA256 = hashlib.sha256(CONTENT).hexdigest()
RAW_CHUNK = {"content_type": CHUNK["content-type"]}


@pytest.fixture(autouse=True)
def cancel_unfinished_uploads(service: RunningService) -> None:
    """Cancel the uploads that another test left unfinished."""
    for upload_id in unfinished(service):
        service.client.delete(f"/uploads/{upload_id}").raise_for_status()


def unfinished(service: RunningService) -> list[str]:
    return [upload["id"] for upload in service.client.get("/uploads").raise_for_status().json()["uploads"]]


def digest_of(models: Path, name: str) -> str:
    return hashlib.sha256((models / name).read_bytes()).hexdigest()


def checksum(algorithm: str, content: bytes) -> str:
    return f"{algorithm} {base64.b64encode(hashlib.new(algorithm, content).digest()).decode()}"


def test_options_returns_the_tus_capabilities(service: RunningService) -> None:
    """OPTIONS returns the version, the extensions and the checksum algorithms."""
    answer = service.client.options("/uploads")

    assert answer.status_code == 204
    assert answer.headers["tus-version"] == answer.headers["tus-resumable"] == "1.0.0"
    assert answer.headers["tus-extension"] == "creation,creation-with-upload,expiration,checksum,termination"
    assert "sha1" in answer.headers["tus-checksum-algorithm"].split(",")
    assert "tus-max-size" not in answer.headers


def test_a_tus_client_uploads_a_model_in_chunks(service: RunningService, models: Path) -> None:
    """The last chunk publishes the model with its digest; then the upload is `published` and no longer listed."""
    tus = uploader(service, CONTENT, chunk_size=MIB, filename="org/repo/über.gguf", sha256=SHA256)
    tus.upload(stop_at=3 * MIB)
    assert not (models / "org").exists()
    (upload,) = service.client.get("/uploads").json()["uploads"]
    assert (upload["name"], upload["offset"], upload["size_bytes"]) == ("org/repo/über.gguf", 3 * MIB, len(CONTENT))
    assert (upload["published"], upload["created_by"]) == (False, "anonymous")
    assert service.client.get("/storage").json()["partial_bytes"] > 3 * MIB

    tus.upload()

    assert digest_of(models, "org/repo/über.gguf") == SHA256
    assert service.client.get("/models/org/repo/über.gguf").json()["sha256"] == SHA256
    assert unfinished(service) == []
    done = service.client.head(str(tus.url))
    assert done.headers["upload-offset"] == done.headers["upload-length"] == str(len(CONTENT))
    assert done.headers["content-location"] == "/models/org/repo/%C3%BCber.gguf"
    assert done.headers["cache-control"] == "no-store"
    event = service.client.get("/journal", params={"limit": 1}).json()["events"][0]
    assert (event["action"], event["name"]) == ("uploaded", "org/repo/über.gguf")


def test_the_creating_request_may_carry_the_first_chunk(service: RunningService, models: Path) -> None:
    """POST may carry the first chunk, or the whole model: then the answer has the address of the published model."""
    headers = CHUNK | {"upload-length": "6", "upload-metadata": upload_metadata(filename="a.bin")}
    part = service.client.post("/uploads", content=b"abc", headers=headers)
    assert (part.status_code, part.headers["upload-offset"], part.json()["offset"]) == (201, "3", 3)
    assert "upload-expires" in part.headers
    assert append(service, part.headers["location"], 3, b"def").headers["content-location"] == "/models/a.bin"

    headers |= {"upload-metadata": upload_metadata(filename="b.bin")}
    whole = service.client.post("/uploads", content=b"abcdef", headers=headers)
    assert (whole.status_code, whole.headers["content-location"]) == (201, "/models/b.bin")
    assert whole.json()["published"]
    assert (models / "a.bin").read_bytes() == (models / "b.bin").read_bytes() == b"abcdef"


def test_no_upload_is_created_if_its_first_chunk_fails(service: RunningService, models: Path) -> None:
    """If the first chunk in a POST fails, no upload is left, since its caller does not know the address."""
    wrong = CHUNK | {
        "upload-checksum": checksum("sha1", b"other"),
        "upload-metadata": upload_metadata(filename="a.bin"),
    }
    assert problem_of(service.client.post("/uploads", content=b"abc", headers=wrong | {"upload-length": "3"}))[0] == 460
    headers = RAW_CHUNK | {"upload_metadata": wrong["upload-metadata"]}
    with RawPost(service, "/uploads", **headers, upload_length=6, content_length=6) as cut:
        cut.send(b"abc")
        (upload_id,) = eventually(lambda: unfinished(service))
    eventually(lambda: unfinished(service) == [])

    assert service.client.head(f"/uploads/{upload_id}").status_code == 404
    eventually(lambda: list((models / ".store/staging").glob(f"{upload_id}*")) == [])


def test_bytes_received_before_a_disconnect_are_kept(service: RunningService, models: Path) -> None:
    """After a PATCH breaks off, a client gets the offset and sends the rest."""
    path = begun(service, "a.bin", len(CONTENT), SHA256)
    with RawPatch(service, path, **RAW_CHUNK, upload_offset=0, content_length=len(CONTENT)) as cut:
        cut.send(CONTENT[: 5 * MIB])
        # One buffer is on the disk, and the next is being filled.
        eventually(lambda: offset_of(service, path) >= 4 * MIB)
    eventually(lambda: not service.client.get(path).json()["active"])

    # Received bytes that the server had not passed on yet when the connection closed may be lost.
    assert 4.5 * MIB < offset_of(service, path) <= 5 * MIB
    tus = uploader(service, CONTENT, url=f"{service.url.rstrip('/')}{path}")
    assert tus.offset == offset_of(service, path)
    tus.upload()
    assert digest_of(models, "a.bin") == SHA256
    assert "request.crashed" not in service.log


def test_a_second_writer_of_an_upload_gets_423(service: RunningService, models: Path) -> None:
    """While a PATCH is running, another PATCH and a DELETE answer 423, and GET shows the upload as active."""
    path = begun(service, "a.bin", 6)
    with RawPatch(service, path, **RAW_CHUNK, upload_offset=0, content_length=3) as first:
        first.send(b"ab")
        eventually(lambda: service.client.get(path).json()["active"])
        refused = append(service, path, 0, b"abc")
        assert problem_of(refused) == (423, "upload-in-progress")
        assert refused.headers["retry-after"] == "1"
        assert problem_of(service.client.delete(path)) == (423, "upload-in-progress")
        first.send(b"c")
        assert first.answer().startswith(b"HTTP/1.1 204 ")
    append(service, path, 3, b"def").raise_for_status()
    assert (models / "a.bin").read_bytes() == b"abcdef"


def test_a_chunk_at_a_wrong_offset_answers_409(service: RunningService, models: Path) -> None:
    """A chunk at another offset answers 409 with the right one; a chunk beyond the announced size answers 413."""
    path = begun(service, "a.bin", 6)
    append(service, path, 0, b"abc").raise_for_status()

    for offset in (0, 2, 4, 6, 1 << 62):
        refused = append(service, path, offset, b"def")
        assert (*problem_of(refused), refused.json()["offset"]) == (409, "offset-mismatch", 3)
    assert problem_of(append(service, path, 3, b"defg")) == (413, "body-too-large")
    assert append(service, path, 3, b"").headers["upload-offset"] == "3"
    assert append(service, path, 3, b"def").headers["etag"] == service.client.get("/models/a.bin").json()["etag"]
    assert (models / "a.bin").read_bytes() == b"abcdef"


@pytest.mark.parametrize("algorithm", ["sha1", "sha256", "sha512"])
def test_a_chunk_with_a_wrong_checksum_is_discarded(service: RunningService, models: Path, algorithm: str) -> None:
    """A chunk whose checksum does not match answers 460 and is discarded, and so is a chunk cut off by a disconnect."""
    path = begun(service, "a.bin", 6, hashlib.sha256(b"abcdef").hexdigest())
    append(service, path, 0, b"abc", upload_checksum=checksum(algorithm, b"abc")).raise_for_status()

    refused = append(service, path, 3, b"deX", upload_checksum=checksum(algorithm, b"def"))
    assert (*problem_of(refused), refused.json()["algorithm"]) == (460, "checksum-mismatch", algorithm)
    headers = RAW_CHUNK | {"upload_checksum": checksum(algorithm, b"def")}
    with RawPatch(service, path, **headers, upload_offset=3, content_length=3) as cut:
        cut.send(b"de")
        eventually(lambda: service.client.get(path).json()["active"])
    eventually(lambda: not service.client.get(path).json()["active"])

    assert offset_of(service, path) == 3
    append(service, path, 3, b"def", upload_checksum=checksum(algorithm, b"def")).raise_for_status()
    assert (models / "a.bin").read_bytes() == b"abcdef"


def test_a_wrong_digest_of_the_whole_model_deletes_the_upload(service: RunningService, models: Path) -> None:
    """If the complete model has another SHA-256 than announced, the answer is 422 and the upload is deleted."""
    path = begun(service, "a.bin", 3, hashlib.sha256(b"abc").hexdigest())

    refused = append(service, path, 0, b"abX")

    assert problem_of(refused) == (422, "digest-mismatch")
    assert refused.json()["actual"] == hashlib.sha256(b"abX").hexdigest()
    assert problem_of(service.client.get(path)) == (404, "upload-not-found")
    assert not (models / "a.bin").exists()


def test_a_wrong_digest_in_the_creating_request_creates_no_upload(service: RunningService, models: Path) -> None:
    """If the first chunk is the whole model and has another SHA-256 than announced, the answer is 422."""
    metadata = upload_metadata(filename="a.bin", sha256=hashlib.sha256(b"abc").hexdigest())

    refused = service.client.post(
        "/uploads", content=b"abX", headers=CHUNK | {"upload-length": "3", "upload-metadata": metadata}
    )

    assert problem_of(refused) == (422, "digest-mismatch")
    assert unfinished(service) == []
    assert not (models / "a.bin").exists()


def test_a_refused_publication_can_be_retried_with_the_last_byte(service: RunningService, models: Path) -> None:
    """If publishing is refused, the offset is the size less one; sending the last byte later publishes the model."""
    path = begun(service, "a.bin", 3)
    (models / "a.bin").write_bytes(b"another")

    assert problem_of(append(service, path, 0, b"abc")) == (409, "model-exists")
    assert offset_of(service, path) == 2
    assert problem_of(append(service, path, 3, b"")) == (409, "offset-mismatch")
    (models / "a.bin").unlink()
    append(service, path, 2, b"c").raise_for_status()
    assert (models / "a.bin").read_bytes() == b"abc"


def test_the_conditions_of_an_upload_are_checked_twice(service: RunningService, models: Path) -> None:
    """The conditions of the POST are checked at once and after the last byte; a replaced version is in the trash."""
    (models / "a.bin").write_bytes(b"old")
    etag = service.client.get("/models/a.bin").json()["etag"]
    assert problem_of(begin(service, "a.bin", 3)) == (409, "model-exists")
    assert problem_of(begin(service, "a.bin", 3, if_none_match="*")) == (412, "condition-failed")
    assert problem_of(begin(service, "a.bin", 3, if_match='"other"')) == (412, "model-changed")
    first, second = (begun(service, "a.bin", 3, if_match=etag) for _ in range(2))

    assert append(service, first, 0, b"new").status_code == 204
    assert problem_of(append(service, second, 0, b"neu")) == (412, "model-changed")
    assert (models / "a.bin").read_bytes() == b"new"
    assert service.client.get("/trash").json()["entries"][-1]["name"] == "a.bin"
    assert service.client.delete(second).status_code == 204


def test_a_finished_upload_can_be_queried_and_its_end_sent_again(service: RunningService, models: Path) -> None:
    """After the model is published, HEAD returns the whole size, and no byte can follow, as before."""
    path = begun(service, "a.bin", 3)
    append(service, path, 0, b"abc").raise_for_status()
    (models / "a.bin").unlink()

    assert offset_of(service, path) == 3
    assert append(service, path, 3, b"").headers["content-location"] == "/models/a.bin"
    assert problem_of(append(service, path, 3, b"d")) == (413, "body-too-large")
    assert problem_of(append(service, path, 0, b"abc")) == (409, "offset-mismatch")
    assert not (models / "a.bin").exists()
    assert service.client.delete(path).status_code == 204
    assert problem_of(service.client.get(path)) == (404, "upload-not-found")


def test_a_cancelled_upload_is_deleted(service: RunningService, models: Path) -> None:
    """After DELETE the upload is not found, its bytes are deleted, and no chunk can be appended."""
    path = begun(service, "a.bin", 3)
    append(service, path, 0, b"ab").raise_for_status()

    assert service.client.delete(path).status_code == 204

    assert problem_of(append(service, path, 2, b"c")) == (404, "upload-not-found")
    assert problem_of(service.client.delete(path)) == (404, "upload-not-found")
    assert service.client.head(path).status_code == 404
    assert unfinished(service) == []
    assert list(models.glob("*.bin")) == []


@pytest.mark.parametrize("upload_id", ["0" * 32, "x", "..%2F..%2Fstore", "%00", "0" * 5000])
def test_an_unknown_upload_id_answers_404(service: RunningService, upload_id: str) -> None:
    """An unknown or hostile upload id answers 404 for every method."""
    path = f"/uploads/{upload_id}"
    answers = [append(service, path, 0, b"abc"), service.client.get(path), service.client.delete(path)]

    assert {answer.status_code for answer in answers} == {404}
    assert service.client.head(path).status_code == 404


def test_a_pull_is_not_an_upload(service: RunningService) -> None:
    """The staged file of a pull is not listed as an upload, and can be neither appended to nor cancelled as one."""
    volume = Volume(service.models_dir)
    expiry = Expiry(FolderClock(volume.clock_file, volume.journal_file))
    staging = Staging(volume.staging_dir, Claims(volume), volume.records, expiry)
    pull = PartialRecord(secrets.token_hex(16), "a.bin", "pull", "me", 3, datetime.now(UTC), timedelta(hours=1))
    staged = staging.begin([], keep=pull)
    staged.release()

    assert unfinished(service) == []
    assert problem_of(append(service, f"/uploads/{pull.id}", 0, b"abc")) == (404, "upload-not-found")
    assert problem_of(service.client.delete(f"/uploads/{pull.id}")) == (404, "upload-not-found")
    staging.discard(pull.id)


def test_an_invalid_chunk_is_refused(service: RunningService) -> None:
    """An invalid chunk answers 415, 422, or 412 for another version of tus; each refusal has `Tus-Resumable`."""
    path = begun(service, "a.bin", 3)
    refusals = [
        (append(service, path, 0, b"abc", content_type="application/octet-stream"), 415, "unsupported-body"),
        (append(service, path, 0, b"abc", content_encoding="gzip"), 415, "unsupported-body"),
        (append(service, path, 0, b"abc", tus_resumable="0.2.2"), 412, "unsupported-tus"),
        (append(service, path, 0, b"abc", upload_offset="-1"), 422, "invalid-request"),
        (append(service, path, 0, b"abc", upload_offset="one"), 422, "invalid-request"),
        (append(service, path, 0, b"abc", upload_checksum="crc32 AAAAAA=="), 400, "unsupported-checksum"),
        (append(service, path, 0, b"abc", upload_checksum="sha1 AAAAAA=="), 422, "invalid-request"),
    ]

    assert [problem_of(answer) for answer, _, _ in refusals] == [(status, slug) for _, status, slug in refusals]
    assert {answer.headers["tus-resumable"] for answer, _, _ in refusals} == {"1.0.0"}
    assert refusals[2][0].headers["tus-version"] == "1.0.0"
    assert offset_of(service, path) == 0
    service.client.delete(path).raise_for_status()


@pytest.mark.parametrize(
    ("headers", "refusal"),
    [
        ({"upload-metadata": ""}, (422, "invalid-request")),
        ({"upload-metadata": "name YQ=="}, (422, "invalid-request")),
        ({"upload-metadata": "filename"}, (422, "invalid-model-name")),
        ({"upload-metadata": "filename %%%"}, (422, "invalid-request")),
        ({"upload-metadata": "filename /w=="}, (422, "invalid-request")),
        ({"upload-metadata": upload_metadata(filename="../a.bin")}, (422, "invalid-model-name")),
        ({"upload-metadata": upload_metadata(filename="keep_a.bin")}, (403, "model-protected")),
        ({"upload-metadata": upload_metadata(filename="a.bin", sha256="abc")}, (422, "invalid-request")),
        ({"upload-length": "0"}, (422, "invalid-request")),
        ({"upload-length": "-1"}, (422, "invalid-request")),
        ({"upload-length": "three"}, (422, "invalid-request")),
        ({"upload-length": str(1 << 62)}, (507, "store-full")),
        ({"upload-length": str(1 << 70)}, (422, "invalid-request")),
        ({"tus-resumable": "1.0.1"}, (412, "unsupported-tus")),
    ],
)
def test_an_upload_that_could_not_be_published_is_not_created(
    service: RunningService, models: Path, headers: dict[str, str], refusal: tuple[int, str]
) -> None:
    """Invalid names, sizes, digests and bodies are refused by the POST, and nothing is staged."""
    (models / "keep_a.bin").write_bytes(b"protected")
    good = {"upload-length": "3", "upload-metadata": upload_metadata(filename="a.bin"), "if-match": "*"}
    if refusal[0] != 403:
        del good["if-match"]

    answer = service.client.post("/uploads", headers=good | headers)

    assert problem_of(answer) == refusal
    assert unfinished(service) == []
    service.client.post("/uploads", content=b"abc", headers=good)
    assert problem_of(service.client.post("/uploads", content=b"abc", headers=good)) == (415, "unsupported-body")


def test_the_limits_of_size_and_of_parallel_uploads_hold(serve: Serve) -> None:
    """`Tus-Max-Size` has the largest size; a larger upload and one above the number of uploads are refused."""
    service = serve(engine_class=ECHO, max_upload_bytes=1000, max_body_bytes=10, max_uploads=1)
    assert service.client.options("/uploads").headers["tus-max-size"] == "1000"
    refused = begin(service, "a.bin", 1001)
    assert (*problem_of(refused), refused.json()["limit_bytes"]) == (413, "body-too-large", 1000)
    slow, other = begun(service, "a.bin", 1000), begun(service, "b.bin", 1000)

    with RawPatch(service, slow, **RAW_CHUNK, upload_offset=0, content_length=1000) as coming:
        coming.send(b"x" * 500)
        eventually(lambda: service.client.get(slow).json()["active"])
        assert problem_of(append(service, other, 0, b"x" * 1000)) == (503, "uploads-busy")
        coming.send(b"x" * 500)
        assert coming.answer().startswith(b"HTTP/1.1 204 ")
    assert append(service, other, 0, b"x" * 1000).status_code == 204


def test_a_stalled_upload_keeps_its_bytes(serve: Serve) -> None:
    """A stalled PATCH answers 408, and the rest can be sent on another connection."""
    service = serve(engine_class=ECHO, upload_stall_timeout="2s")
    path = begun(service, "a.bin", 6)

    with RawPatch(service, path, **RAW_CHUNK, upload_offset=0, content_length=6) as stalling:
        stalling.send(b"abcd")
        assert stalling.answer().startswith(b"HTTP/1.1 408 ")
    assert offset_of(service, path) == 4
    assert append(service, path, 4, b"ef").status_code == 204


def test_an_abandoned_upload_expires(serve: Serve) -> None:
    """An upload without new bytes for `OCR_PARTIAL_RETENTION` is deleted; `Upload-Expires` has the time."""
    service = serve(engine_class=ECHO, partial_retention="3s")
    path = begun(service, "a.bin", 6)
    assert append(service, path, 0, b"abc").headers["upload-expires"].endswith(" GMT")

    eventually(lambda: service.client.head(path).status_code == 404)
    assert problem_of(append(service, path, 3, b"def")) == (404, "upload-not-found")
    eventually(lambda: list((service.models_dir / ".store/staging").iterdir()) == [])


def test_any_service_on_the_folder_resumes_an_upload(replicas: list[RunningService]) -> None:
    """Two services append to one upload in turn; while one of them writes, the other answers 423."""
    path = begun(replicas[0], "a.bin", len(CONTENT), SHA256)
    with RawPatch(replicas[0], path, **RAW_CHUNK, upload_offset=0, content_length=MIB) as first:
        first.send(CONTENT[:1000])
        eventually(lambda: replicas[1].client.get(path).json()["active"])
        assert problem_of(append(replicas[1], path, 0, CONTENT)) == (423, "upload-in-progress")
        first.send(CONTENT[1000:MIB])
        first.answer()
    for number, start in enumerate(range(MIB, len(CONTENT), MIB)):
        answer = append(replicas[(number + 1) % 2], path, start, CONTENT[start : start + MIB])
        assert answer.status_code == 204

    assert digest_of(replicas[0].models_dir, "a.bin") == SHA256
    assert {offset_of(service, path) for service in replicas} == {len(CONTENT)}
