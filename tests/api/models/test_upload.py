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
from tests.support.answers import problem_of
from tests.support.processes import python
from tests.support.raw import RawPut
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
    return list((service.models_dir / ".store/staging").iterdir())


def put(service: RunningService, name: str, content: Any = CONTENT, **headers: str) -> httpx.Response:
    fields = {key.replace("_", "-"): value for key, value in headers.items()}
    return service.client.put(f"/models/{name}", content=content, headers=fields)


def test_a_model_comes_in(service: RunningService, models: Path) -> None:
    """201 with its place, version and digest; it is in the list at once, and the journal knows."""
    answer = put(service, "org%2Frepo/über a.gguf", x_request_id="r-1")

    assert answer.status_code == 201
    assert answer.headers["location"] == "/models/org/repo/%C3%BCber%20a.gguf"
    model = answer.json()
    assert (model["name"], model["size_bytes"], model["sha256"]) == ("org/repo/über a.gguf", len(CONTENT), SHA256)
    assert answer.headers["etag"] == model["etag"]
    assert (models / "org/repo/über a.gguf").read_bytes() == CONTENT
    assert "org/repo/über a.gguf" in [each["name"] for each in service.client.get("/models").json()["models"]]
    # Until the engine was asked about it, it is not known whether it is recognised.
    assert service.client.get(answer.headers["location"]).json() | {"recognised": None} == model | {"recognised": None}
    event = service.client.get("/journal", params={"limit": 1}).json()["events"][0]
    assert (event["action"], event["name"], event["request_id"]) == ("uploaded", "org/repo/über a.gguf", "r-1")
    assert staged(service) == []


def test_the_digest_is_shown_while_it_is_true(service: RunningService, models: Path) -> None:
    """A file that came another way has none, nor one that was written since."""
    put(service, "a.bin").raise_for_status()
    (models / "b.bin").write_bytes(CONTENT)

    assert service.client.get("/models/a.bin").json()["sha256"] == SHA256
    assert service.client.get("/models/b.bin").json()["sha256"] is None
    (models / "a.bin").write_bytes(b"other")
    assert service.client.get("/models/a.bin").json()["sha256"] is None


def test_nothing_is_replaced_by_accident(service: RunningService, models: Path) -> None:
    """It takes If-Match with the present version, or any; the version before is in the trash."""
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


def test_what_must_stay_stays(service: RunningService, models: Path) -> None:
    """Protected models and those in use are not replaced, and bad names are none."""
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
def test_right_digests_are_accepted(service: RunningService, models: Path, name: str) -> None:
    """One, several, with unknown ones among them, and parameters as structured fields may have them."""
    many = f"unixsum=30637, {field('sha-512', CONTENT)};x=1 ,\tmd5=:AAAA:,{field('sha-256', CONTENT)}"
    for number, value in enumerate((field("sha-256", CONTENT), field("sha-512", CONTENT), many, 'id="a, b"')):
        assert put(service, f"{number}.bin", **{name: value}).status_code == 201, value


def test_wrong_digests_keep_the_model_out(service: RunningService, models: Path) -> None:
    """422 with both values, and nothing is left; every digest that is announced counts."""
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
def test_malformed_digests_are_refused(service: RunningService, models: Path, value: str) -> None:
    """422 that says where, before the body is read."""
    refused = put(service, "a.bin", content_digest=value)

    assert problem_of(refused) == (422, "invalid-request")
    assert refused.json()["errors"][0]["where"] == ["header", "content-digest"]


def test_what_is_no_file_is_refused(service: RunningService, models: Path) -> None:
    """A form, an encoded body, nothing, and a part of a file would all make a model of what is none."""
    assert problem_of(service.client.put("/models/a.bin", files={"file": CONTENT})) == (415, "unsupported-body")
    assert problem_of(service.client.put("/models/a.bin", data={"a": "b"})) == (415, "unsupported-body")
    assert problem_of(put(service, "a.bin", content_encoding="gzip")) == (415, "unsupported-body")
    assert problem_of(put(service, "a.bin", b"")) == (422, "invalid-request")
    assert problem_of(put(service, "a.bin", iter([]))) == (422, "invalid-request")
    assert problem_of(put(service, "a.bin", content_range="bytes 0-9/20")) == (422, "invalid-request")
    assert not (models / "a.bin").exists()


def test_no_byte_is_asked_for_that_would_be_refused(service: RunningService, models: Path) -> None:
    """With Expect: 100-continue the refusal comes in its place, and ends the connection."""
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


def test_who_goes_away_midway_leaves_nothing(service: RunningService, models: Path) -> None:
    """The staging file is gone within a second, and the log has a line instead of a crash."""
    for framing, body in ({"content_length": 100 * MIB}, b"x" * MIB), ({"transfer_encoding": "chunked"}, b"5\r\nabcde"):
        with RawPut(service, "/models/a.bin", **framing) as leaving:
            leaving.send(body)
            eventually(lambda: len(staged(service)) == 1)
        eventually(lambda: staged(service) == [], within=1)

    assert not (models / "a.bin").exists()
    eventually(lambda: service.log.count('"status": 400') == 2)
    assert "request.crashed" not in service.log


def test_only_so_many_come_at_once_and_nobody_waits_for_the_slow(serve: Serve) -> None:
    """The next one gets 503 with Retry-After; others are served; a place that is free again is taken."""
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


def test_who_stalls_makes_room(serve: Serve) -> None:
    """408 after the time that is set, and nothing is left."""
    service = serve(engine_class=ECHO, upload_stall_timeout="0.3s")

    with RawPut(service, "/models/a.bin", content_length=4) as stalling:
        stalling.send(b"ab")
        assert stalling.answer().startswith(b"HTTP/1.1 408 ")
        assert stalling.answer() == b""
    assert staged(service) == []


def test_the_limit_of_other_bodies_is_not_that_of_models(serve: Serve) -> None:
    """Each has its own; an upload's counts whether its length is told or not."""
    service = serve(engine_class=ECHO, max_body_bytes=10, max_upload_bytes=1000)

    def chunks(count: int) -> Iterator[bytes]:
        for _ in range(count):
            yield b"x" * 100

    assert put(service, "told.bin", b"x" * 1000).status_code == 201
    assert put(service, "streamed.bin", chunks(10)).status_code == 201
    for content in (b"x" * 1001, chunks(11)):
        refused = put(service, "large.bin", content)
        assert problem_of(refused) == (413, "body-too-large")
        assert "OCR_MAX_UPLOAD_BYTES" in refused.json()["detail"]
    assert service.client.get("/models").json()["count"] == 2
    assert staged(service) == []


def test_memory_does_not_grow_with_the_body(serve: Serve) -> None:
    """256 MiB stream through, and the service's memory stays within a few buffers of what it was."""
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


def test_of_concurrent_uploads_of_one_name_one_wins(replicas: list[RunningService]) -> None:
    """Through two services: exactly one 201, the others 409, and the bytes are the winner's."""
    for attempt in range(5):
        name = f"{attempt}.bin"
        with ThreadPoolExecutor(16) as threads:
            answers = list(threads.map(lambda n: put(replicas[n % 2], name, b"%d" % n * 100_000), range(16)))  # noqa: B023

        assert sorted(answer.status_code for answer in answers) == [201] + [409] * 15
        (winner,) = [n for n, answer in enumerate(answers) if answer.status_code == 201]
        assert (replicas[0].models_dir / name).read_bytes() == b"%d" % winner * 100_000
    assert staged(replicas[0]) == []


def test_uploads_and_deletions_of_one_name_lose_nothing(replicas: list[RunningService]) -> None:
    """Whatever came in is in its place or in the trash, once, however they meet."""
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


def test_a_read_only_service_reads_no_body(serve: Serve) -> None:
    """403 in place of 100 Continue."""
    service = serve(engine_class=ECHO, read_only="true")

    with RawPut(service, "/models/a.bin", content_length=10, expect="100-continue") as refused:
        assert refused.answer().startswith(b"HTTP/1.1 403 ")
    assert staged(service) == []
