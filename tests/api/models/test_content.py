"""`GET /models/{name}/content`: a model's bytes, whole or in ranges."""

import base64
import contextlib
import hashlib
import json
import os
from pathlib import Path

import httpx
import pytest

from app.api.http.keys import Scope, entry_for, new_key
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawGet
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

BYTES = os.urandom(1 << 20)
LARGE_BYTES = 24 << 20
"""More than the buffers of a connection hold, so that a caller that takes nothing stops the service's reads."""


@pytest.fixture
def path(service: RunningService, models: Path) -> str:
    """Upload a model and return the path of its content."""
    service.client.put("/models/org_repo/a%20b.gguf", content=BYTES).raise_for_status()
    return "/models/org_repo/a%20b.gguf/content"


def get(service: RunningService, path: str, **headers: str) -> httpx.Response:
    return service.client.get(path, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_the_whole_model(service: RunningService, path: str) -> None:
    """The answer has the bytes, their recorded digest, the model's etag, and a name for the file."""
    answer = get(service, path)

    digest = base64.b64encode(hashlib.sha256(BYTES).digest()).decode()
    assert (answer.status_code, answer.content) == (200, BYTES)
    expected = {
        "content-type": "application/octet-stream",
        "content-length": str(len(BYTES)),
        "accept-ranges": "bytes",
        "repr-digest": f"sha-256=:{digest}:",
        "etag": service.client.get(path.removesuffix("/content")).json()["etag"],
        "content-disposition": 'attachment; filename="a b.gguf"',
        "cache-control": "no-cache, no-transform",
    }
    assert {name: answer.headers.get(name) for name in expected} == expected


def test_head_has_the_headers_of_the_whole_model(service: RunningService, path: str) -> None:
    """HEAD ignores `Range`, as RFC 9110 requires, and sends no bytes."""
    head, whole = service.client.head(path, headers={"range": "bytes=0-9"}), get(service, path)

    varying = {"date", "x-request-id"}
    assert (head.status_code, head.content) == (200, b"")
    assert {name: head.headers[name] for name in set(head.headers) - varying} == {
        name: whole.headers[name] for name in set(whole.headers) - varying
    }


@pytest.mark.parametrize(
    ("asked", "start", "end"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=10-19", 10, 20),
        ("bytes=1000000-", 1_000_000, len(BYTES)),
        ("bytes=1000000-9999999999999", 1_000_000, len(BYTES)),
        ("bytes=-5", len(BYTES) - 5, len(BYTES)),
        ("bytes=-9999999", 0, len(BYTES)),
        ("bytes=10-" + "9" * 5000, 10, len(BYTES)),
        ("bytes=-" + "9" * 5000, 0, len(BYTES)),
        ("bytes=" + "0" * 30 + "7-", 7, len(BYTES)),
        ("Bytes= 5-6", 5, 7),
    ],
)
def test_one_range(service: RunningService, path: str, asked: str, start: int, end: int) -> None:
    """One range within the model is answered 206 with these bytes; the digest is that of the whole model."""
    answer = get(service, path, range=asked)

    assert (answer.status_code, answer.content) == (206, BYTES[start:end])
    assert answer.headers["content-range"] == f"bytes {start}-{end - 1}/{len(BYTES)}"
    assert answer.headers["content-length"] == str(end - start)
    assert answer.headers["repr-digest"] == get(service, path).headers["repr-digest"]


@pytest.mark.parametrize("asked", ["bytes=0-1,5-6", "bytes=9-3", "bytes=a-b", "bytes=-", "lines=0-1", "bytes", ""])
def test_other_ranges_are_ignored(service: RunningService, path: str, asked: str) -> None:
    """Several ranges, malformed ones and other units get the whole model, as RFC 9110 allows."""
    answer = get(service, path, range=asked)

    assert (answer.status_code, len(answer.content)) == (200, len(BYTES))
    assert "content-range" not in answer.headers


@pytest.mark.parametrize(
    "asked", [f"bytes={len(BYTES)}-", "bytes=99999999999-", "bytes=" + "9" * 5000 + "-", "bytes=-0"]
)
def test_a_range_after_the_end_is_refused(service: RunningService, path: str, asked: str) -> None:
    """The refusal tells the model's size."""
    answer = get(service, path, range=asked)

    assert problem_of(answer) == (416, "range-not-satisfiable")
    assert (answer.headers["content-range"], answer.json()["size_bytes"]) == (f"bytes */{len(BYTES)}", len(BYTES))


def test_a_range_of_another_version_is_never_sent(service: RunningService, path: str) -> None:
    """With the etag of a replaced version as If-Range the answer is the whole new model; with the present etag, 206."""
    before = get(service, path).headers["etag"]
    replaced = service.client.put(path.removesuffix("/content"), content=BYTES[::-1], headers={"if-match": before})
    now = replaced.raise_for_status().headers["etag"]

    stale, fresh = (get(service, path, range="bytes=0-9", if_range=etag) for etag in (before, now))

    assert (stale.status_code, stale.content) == (200, BYTES[::-1])
    assert (fresh.status_code, fresh.content) == (206, BYTES[:-11:-1])
    for other in (f"W/{now}", "Sat, 21 Nov 2026 09:20:12 GMT"):  # no strong validators
        assert get(service, path, range="bytes=0-9", if_range=other).status_code == 200
    assert problem_of(get(service, path, range="bytes=0-9", if_match=before)) == (412, "model-changed")
    assert get(service, path, range="bytes=0-9", if_match=now).status_code == 206


def test_a_version_that_the_caller_has_is_not_sent(service: RunningService, path: str) -> None:
    """With the etag as If-None-Match the answer is 304, also to a request for a range."""
    etag = get(service, path).headers["etag"]

    for headers in ({"if_none_match": etag}, {"if_none_match": f"W/{etag}", "range": "bytes=0-9"}):
        answer = get(service, path, **headers)
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", etag)


def test_a_model_without_a_recorded_digest(service: RunningService, models: Path) -> None:
    """A file that another program put there has no digest; an empty file is sent too, and has no range."""
    (models / "é.bin").write_bytes(b"x")
    (models / "empty.bin").touch()

    answer = get(service, "/models/é.bin/content")
    assert answer.content == b"x"
    assert "repr-digest" not in answer.headers
    assert answer.headers["content-disposition"] == "attachment; filename*=UTF-8''%C3%A9.bin"
    assert get(service, "/models/empty.bin/content").headers["content-length"] == "0"
    assert problem_of(get(service, "/models/empty.bin/content", range="bytes=0-")) == (416, "range-not-satisfiable")


@pytest.mark.parametrize(
    ("target", "status", "slug"),
    [
        ("/models/none.bin/content", 404, "model-not-found"),
        ("/models/a%2F..%2Fb/content", 422, "invalid-model-name"),
        ("/models/.store%2Flocks/content", 422, "invalid-model-name"),
        ("/models/link.bin/content", 422, "not-a-model"),
    ],
)
def test_nothing_but_models_is_sent(service: RunningService, models: Path, target: str, status: int, slug: str) -> None:
    """No name leads to a file outside the models."""
    (models / "link.bin").symlink_to("/etc/passwd")

    assert problem_of(get(service, target)) == (status, slug)


def test_a_model_may_be_named_content(service: RunningService, models: Path) -> None:
    """The path of a model `x/content` means that model, and its own bytes are at `x/content/content`."""
    (models / "x").mkdir()
    (models / "x/content").write_bytes(b"abc")
    eventually(lambda: service.client.get("/models").json()["count"] == 1)

    assert service.client.get("/models/x/content").json()["name"] == "x/content"
    assert service.client.get("/models/x/content/content").content == b"abc"
    assert service.client.delete("/models/x/content").status_code == 200
    eventually(lambda: problem_of(service.client.get("/models/x/content"))[1] == "not-a-model")  # `x` is a folder
    assert problem_of(service.client.put("/models/x/content", content=b"x")) == (405, "method-not-allowed")


def test_it_needs_a_scope_of_its_own(serve: Serve, tmp_path: Path) -> None:
    """A key that may list models needs the scope `content` to download them; a read-only service allows downloads."""
    keys = {scope: new_key() for scope in (Scope.READ, Scope.CONTENT)}
    (tmp_path / "keys.toml").write_text("".join(entry_for(scope, [scope], key) for scope, key in keys.items()))
    service = serve(engine_class=ECHO, api_keys_file=tmp_path / "keys.toml", read_only="true")
    (service.models_dir / "a.bin").write_bytes(b"x")

    answers = {
        scope: get(service, "/models/a.bin/content", authorization=f"Bearer {key}") for scope, key in keys.items()
    }

    assert problem_of(answers[Scope.READ]) == (403, "missing-scope")
    assert answers[Scope.CONTENT].content == b"x"


@pytest.fixture
def large(service: RunningService, models: Path) -> Path:
    """Create a large model of zeros, which takes no space on the disk."""
    path = models / "large.bin"
    with path.open("wb") as file:
        file.truncate(LARGE_BYTES)
    return path


def test_a_deleted_model_is_sent_to_its_end(service: RunningService, large: Path) -> None:
    """A model that is deleted permanently, and whose name is taken by another, is still sent as it was."""
    with service.client.stream("GET", "/models/large.bin/content") as answer:
        chunks = answer.iter_bytes()
        first = next(chunks)
        assert service.client.delete("/models/large.bin?permanent=true").status_code == 200
        assert service.client.put("/models/large.bin", content=b"another").status_code == 201
        rest = b"".join(chunks)

    assert len(first) + len(rest) == LARGE_BYTES
    assert not any(first)
    assert not any(rest)
    assert get(service, "/models/large.bin/content").content == b"another"


@pytest.mark.parametrize("change", ["written", "truncated"])
def test_an_answer_has_no_bytes_of_two_versions(service: RunningService, large: Path, change: str) -> None:
    """If another program writes to the file while it is sent, the connection ends early and the log says why."""
    received = []
    with service.client.stream("GET", "/models/large.bin/content") as answer:
        chunks = answer.iter_bytes()
        received.append(next(chunks))
        with large.open("r+b") as file:
            if change == "written":
                file.seek(LARGE_BYTES - 1)
                file.write(b"x")
            else:
                file.truncate(1)
        with pytest.raises(httpx.RemoteProtocolError):
            received.extend(chunks)

    assert not any(map(any, received))

    (line,) = [line for line in map(json.loads, service.log.splitlines()) if line["event"] == "request.cut"]
    assert line["cause"] == "the file was written while it was sent"


def test_the_file_of_a_caller_that_is_gone_is_closed(service: RunningService, large: Path) -> None:
    """Callers that take nothing keep no thread busy, and once they have disconnected, no file is open for them."""

    def open_files() -> int:
        count = 0
        for each in Path(f"/proc/{service.process.pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                count += each.readlink() == large
        return count

    callers = [RawGet(service, "/models/large.bin/content") for _ in range(12)]  # more than there are threads
    eventually(lambda: open_files() == len(callers), within=30)

    assert get(service, "/models/large.bin/content", range="bytes=0-9").content == bytes(10)
    for caller in callers:
        with caller:
            pass
    eventually(lambda: open_files() == 0, within=30)
