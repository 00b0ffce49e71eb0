"""`PUT /models/{name}` over HTTP."""

import base64
import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawPut
from tests.support.processes import python
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

MIB = 1 << 20
CONTENT = b"the content of a model\n"
SHA256 = hashlib.sha256(CONTENT).hexdigest()

LEASES = """
import sys
from pathlib import Path
from app.store.locks.model_locks import ModelLocks
with ModelLocks(Path(sys.argv[1])).lease(sys.argv[2]):
    print("leased", flush=True)
    sys.stdin.read()
"""


def field(algorithm: str, content: bytes) -> str:
    digest = hashlib.new(algorithm.replace("-", ""), content).digest()
    return f"{algorithm}=:{base64.b64encode(digest).decode()}:"


def staged(service: RunningService) -> list[Path]:
    """Return the staged files. Records of resumable uploads, which other tests leave, are not among them."""
    return list((service.models_dir / ".store/staging").glob("*.part"))


def put(service: RunningService, name: str, content: Any = CONTENT, **headers: str) -> httpx.Response:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    return service.client.put(f"/models/{name}", content=content, headers=fields)


def test_an_upload_creates_a_model(service: RunningService, models: Path) -> None:
    """An upload answers 201 with location, ETag and digest; the model is listed at once and in the journal."""
    answer = put(service, "org%2Frepo/über a.gguf", x_request_id="r-1")

    assert answer.status_code == 201
    assert answer.headers["location"] == "/models/org/repo/%C3%BCber%20a.gguf"
    model = answer.json()
    assert (model["name"], model["size_bytes"], model["sha256"]) == ("org/repo/über a.gguf", len(CONTENT), SHA256)
    assert answer.headers["etag"] == model["etag"]
    assert (models / "org/repo/über a.gguf").read_bytes() == CONTENT
    assert "org/repo/über a.gguf" in [each["name"] for each in service.client.get("/models").json()["models"]]
    # `recognised` is null until AsposeAI is asked about the new file.
    assert service.client.get(answer.headers["location"]).json() | {"recognised": None} == model | {"recognised": None}
    event = service.client.get("/journal", params={"limit": 1}).json()["events"][0]
    assert (event["action"], event["name"], event["request_id"]) == ("uploaded", "org/repo/über a.gguf", "r-1")
    assert staged(service) == []


def test_sha256_is_null_for_a_file_written_outside_the_service(service: RunningService, models: Path) -> None:
    """A model has the digest of its upload until the file is written outside the service; a file copied in has none."""
    put(service, "a.bin").raise_for_status()
    (models / "b.bin").write_bytes(CONTENT)

    assert service.client.get("/models/a.bin").json()["sha256"] == SHA256
    assert service.client.get("/models/b.bin").json()["sha256"] is None
    (models / "a.bin").write_bytes(b"other")
    assert service.client.get("/models/a.bin").json()["sha256"] is None


def test_replacing_a_model_needs_if_match(service: RunningService, models: Path) -> None:
    """An existing model is replaced only with a matching `If-Match`, and the replaced version is in the trash."""
    service.client.delete("/trash")
    first = put(service, "a.bin", b"first").json()

    assert problem_of(put(service, "a.bin")) == (409, "model-exists")
    assert problem_of(put(service, "a.bin", if_none_match="*")) == (412, "condition-failed")
    assert problem_of(put(service, "a.bin", if_match='"other"')) == (412, "model-changed")
    assert problem_of(put(service, "a.bin", if_match="nonsense")) == (412, "model-changed")
    assert problem_of(put(service, "new.bin", if_match="*")) == (412, "condition-failed")
    assert (models / "a.bin").read_bytes() == b"first"

    replaced = put(service, "a.bin", if_match=f'"other", {first["etag"]}')
    assert (replaced.status_code, replaced.json()["sha256"]) == (200, SHA256)
    assert put(service, "a.bin", b"third", if_match="*").status_code == 200
    assert put(service, "b.bin", if_none_match="*").status_code == 201

    assert (models / "a.bin").read_bytes() == b"third"
    assert [entry["size_bytes"] for entry in service.client.get("/trash").json()["entries"]] == [5, len(CONTENT)]


def test_protected_and_leased_models_are_not_replaced(service: RunningService, models: Path) -> None:
    """Replacing a protected or leased model is refused, and so are invalid names."""
    (models / "keep_a.bin").write_bytes(b"old")
    (models / "a.bin").write_bytes(b"old")

    assert problem_of(put(service, "keep_a.bin", if_match="*")) == (403, "model-protected")
    with python(LEASES, models / ".store/locks/models", "a.bin"):
        assert problem_of(put(service, "a.bin", if_match="*")) == (409, "model-in-use")
    assert problem_of(put(service, "a.bin/b.bin")) == (422, "not-a-model")
    assert problem_of(put(service, ".store/b.bin")) == (422, "invalid-model-name")
    assert problem_of(put(service, "..%2Fb.bin")) == (422, "invalid-model-name")
    assert [(models / name).read_bytes() for name in ("keep_a.bin", "a.bin")] == [b"old", b"old"]


@pytest.mark.parametrize("name", ["content_digest", "repr_digest"])
def test_matching_digests_are_accepted(service: RunningService, models: Path, name: str) -> None:
    """One or several matching digests are accepted, also among unknown algorithms and with parameters."""
    many = f"unixsum=30637, {field('sha-512', CONTENT)};x=1 ,\tmd5=:AAAA:,{field('sha-256', CONTENT)}"
    for number, value in enumerate((field("sha-256", CONTENT), field("sha-512", CONTENT), many, 'id="a, b"')):
        assert put(service, f"{number}.bin", **{name: value}).status_code == 201, value


def test_a_digest_mismatch_answers_422_and_stores_nothing(service: RunningService, models: Path) -> None:
    """If any announced digest does not match, the answer is 422 with both digests, and nothing is stored."""
    for wrong in (field("sha-256", b"other"), f"{field('sha-256', CONTENT)}, {field('sha-512', b'other')}"):
        assert problem_of(put(service, "a.bin", repr_digest=wrong)) == (422, "digest-mismatch")
    refused = put(service, "a.bin", repr_digest=field("sha-256", CONTENT), content_digest=field("sha-256", b"")).json()

    assert (refused["expected"], refused["actual"]) == (hashlib.sha256().hexdigest(), SHA256)
    assert not (models / "a.bin").exists()
    assert staged(service) == []


@pytest.mark.parametrize(
    "value",
    [
        "",
        "sha-256",
        "sha-256=x",
        "sha-256=:x:",
        "sha-256=::",
        "sha-256=:AAAA:",
        "sha-256 = 1",
        "a,,b",
        ",",
        "=:",
        "a=()",
    ],
)
def test_a_malformed_digest_header_answers_422(service: RunningService, models: Path, value: str) -> None:
    """A malformed `Content-Digest` answers 422 and names the header."""
    refused = put(service, "a.bin", content_digest=value)

    assert problem_of(refused) == (422, "invalid-request")
    assert refused.json()["errors"][0]["where"] == ["header", "content-digest"]


def test_forms_encoded_empty_and_partial_bodies_are_refused(service: RunningService, models: Path) -> None:
    """A form and an encoded body answer 415, an empty body 422, and a part 400 or 422."""
    assert problem_of(service.client.put("/models/a.bin", files={"file": CONTENT})) == (415, "unsupported-body")
    assert problem_of(service.client.put("/models/a.bin", data={"a": "b"})) == (415, "unsupported-body")
    assert problem_of(put(service, "a.bin", content_encoding="gzip")) == (415, "unsupported-body")
    assert problem_of(put(service, "a.bin", b"")) == (422, "invalid-request")
    assert problem_of(put(service, "a.bin", iter([]))) == (422, "invalid-request")
    assert problem_of(put(service, "a.bin", content_range="bytes 0-9/20")) == (400, "partial-body")
    for field in ("upload_offset", "upload_concat", "digest", "content_md5"):
        assert problem_of(put(service, "a.bin", **{field: "0"})) == (422, "invalid-request")
    assert not (models / "a.bin").exists()


def test_expect_continue_is_refused_before_the_body(service: RunningService, models: Path) -> None:
    """With `Expect: 100-continue`, an upload that would fail is refused before its body, and the connection closes."""
    (models / "a.bin").write_bytes(b"old")

    with RawPut(service, "/models/a.bin", content_length=10, expect="100-continue") as refused:
        answer = refused.answer()
        assert answer.startswith(b"HTTP/1.1 409 ")
        assert b"connection: close" in answer.lower()
        assert refused.answer() == b""
    with RawPut(service, "/models/big.bin", content_length=1 << 60, expect="100-continue") as refused:
        answer = refused.answer()
        assert answer.startswith(b"HTTP/1.1 507 ")
        assert b'"need_bytes":1152921504606846976,"free_bytes":' in answer
    with RawPut(service, "/models/b.bin", content_length=3, expect="100-continue") as accepted:
        assert accepted.answer() == b"HTTP/1.1 100 Continue\r\n\r\n"
        accepted.send(b"new")
        assert accepted.answer().startswith(b"HTTP/1.1 201 ")


def test_a_disconnect_during_an_upload_leaves_no_file(service: RunningService, models: Path) -> None:
    """If the caller disconnects, the staged file is deleted soon; the log has status 400, no crash."""
    for framing, body in ({"content_length": 100 * MIB}, b"x" * MIB), ({"transfer_encoding": "chunked"}, b"5\r\nabcde"):
        with RawPut(service, "/models/a.bin", **framing) as leaving:
            leaving.send(body)
            eventually(lambda: len(staged(service)) == 1)
        eventually(lambda: staged(service) == [], within=10)

    assert not (models / "a.bin").exists()
    eventually(lambda: service.log.count('"status": 400') == 2)
    assert "request.crashed" not in service.log


def test_uploads_above_the_limit_answer_503(serve: Serve) -> None:
    """An upload above `OCR_MAX_UPLOADS` answers 503; other requests work, and a freed slot is reused."""
    service = serve(engine_class=ECHO, max_uploads=2)
    slow = [RawPut(service, f"/models/slow{n}.bin", content_length=4) for n in range(2)]
    for each in slow:
        each.send(b"ab")
    eventually(lambda: len(staged(service)) == 2)

    refused = put(service, "a.bin")
    assert problem_of(refused) == (503, "uploads-busy")
    assert (refused.json()["limit"], refused.headers["retry-after"]) == (2, "5")
    assert service.client.get("/models").status_code == 200

    slow[0].send(b"cd")
    assert slow[0].answer().startswith(b"HTTP/1.1 201 ")
    assert put(service, "a.bin").status_code == 201
    for each in slow:
        each.connection.close()
    eventually(lambda: staged(service) == [])


def test_a_stalled_upload_answers_408(serve: Serve) -> None:
    """An upload without bytes for `OCR_UPLOAD_STALL_TIMEOUT` answers 408 and leaves no file."""
    service = serve(engine_class=ECHO, upload_stall_timeout="2s")

    with RawPut(service, "/models/a.bin", content_length=4) as stalling:
        stalling.send(b"ab")
        assert stalling.answer().startswith(b"HTTP/1.1 408 ")
        assert stalling.answer() == b""
    assert staged(service) == []


def test_uploads_have_their_own_size_limit(serve: Serve) -> None:
    """An upload may exceed `OCR_MAX_BODY_BYTES` but not `OCR_MAX_UPLOAD_BYTES`, with or without a length."""
    service = serve(engine_class=ECHO, max_body_bytes=10, max_upload_bytes=1000)

    def chunks(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * 100

    assert put(service, "announced.bin", b"x" * 1000).status_code == 201
    assert put(service, "streamed.bin", chunks(10)).status_code == 201
    for content in (b"x" * 1001, chunks(11)):
        refused = put(service, "large.bin", content)
        assert problem_of(refused) == (413, "body-too-large")
        assert "OCR_MAX_UPLOAD_BYTES" in refused.json()["detail"]
    assert service.client.get("/models").json()["count"] == 2
    assert staged(service) == []


def test_memory_does_not_grow_with_the_body(serve: Serve) -> None:
    """While 256 MiB are uploaded, the service's memory grows by less than 24 MiB."""
    service = serve(engine_class=ECHO).wait_until_ready()
    process = psutil.Process(service.process.pid)
    put(service, "warm.bin", (b"x" * MIB for _ in range(32))).raise_for_status()
    before = process.memory_info().rss
    seen = [before]
    hasher = hashlib.sha256()

    def chunks() -> Iterator[bytes]:
        for number in range(256):
            chunk = number.to_bytes() * MIB
            hasher.update(chunk)
            seen.append(process.memory_info().rss)
            yield chunk

    answer = put(service, "large.bin", chunks()).raise_for_status().json()

    assert (answer["size_bytes"], answer["sha256"]) == (256 * MIB, hasher.hexdigest())
    assert max(*seen, process.memory_info().rss) - before < 24 * MIB


def test_one_of_concurrent_uploads_of_a_name_succeeds(replicas: list[RunningService]) -> None:
    """Of 16 uploads of one name through two services, one answers 201 and is stored; the others answer 409."""
    for attempt in range(5):
        name = f"{attempt}.bin"
        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda n: put(replicas[n % 2], name, b"%d" % n * 100_000), range(16)))  # noqa: B023

        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 15
        (winner,) = [n for n, answer in enumerate(answers) if answer.status_code == 201]
        assert (replicas[0].models_dir / name).read_bytes() == b"%d" % winner * 100_000
    assert staged(replicas[0]) == []


def test_concurrent_uploads_and_deletions_lose_no_version(replicas: list[RunningService]) -> None:
    """Each version whose upload succeeded is either the model or in the trash, exactly once."""
    uploaded: set[str] = set()

    def upload(number: int) -> None:
        answer = put(replicas[number % 2], "a.bin", b"%d" % number, if_match="*" if number % 3 else "")
        assert answer.status_code in {200, 201, 409, 412, 503}
        if answer.is_success:
            uploaded.add(str(number))

    def delete(number: int) -> None:
        assert replicas[number % 2].client.delete("/models/a.bin").status_code in {200, 404, 409}

    with ThreadPoolExecutor(8) as threads:
        done = [threads.submit(upload if number % 4 else delete, number) for number in range(200)]
    for each in done:
        each.result()

    trash = replicas[0].models_dir / ".store/trash"
    found = [path.read_text() for path in trash.iterdir() if path.suffix != ".json"]
    found += [path.read_text() for path in replicas[0].models_dir.glob("a.bin")]
    assert sorted(found) == sorted(uploaded)


def test_a_read_only_service_refuses_an_upload_before_the_body(serve: Serve) -> None:
    """A read-only service answers 403 instead of `100 Continue`."""
    service = serve(engine_class=ECHO, read_only="true")

    with RawPut(service, "/models/a.bin", content_length=10, expect="100-continue") as refused:
        assert refused.answer().startswith(b"HTTP/1.1 403 ")
    assert staged(service) == []
