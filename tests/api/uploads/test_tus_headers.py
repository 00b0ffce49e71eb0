"""The headers of tus 1.0: what each answer has, and what is refused because it would be ignored otherwise."""

import base64
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients.answers import problem_of
from tests.support.clients.raw import RawPatch, RawPost
from tests.support.clients.tus import CHUNK, append, begin, begun, upload_metadata
from tests.support.service import RunningService

NOT_ASCII: dict[str, Any] = {
    "upload-metadata": "filename \xe9".encode("latin-1"),
    "upload-checksum": "sha256 \xe9".encode("latin-1"),
    "upload-length": "\xb2".encode("latin-1"),
    "upload-offset": "\xb9\xb2".encode("latin-1"),
    "tus-resumable": b"\xff",
}


@pytest.fixture(autouse=True)
def cancel_unfinished_uploads(service: RunningService) -> None:
    """Cancel the uploads that another test left unfinished."""
    for upload in service.client.get("/uploads").raise_for_status().json()["uploads"]:
        service.client.delete(f"/uploads/{upload['id']}").raise_for_status()


@pytest.mark.parametrize("field", NOT_ASCII)
def test_a_header_that_is_not_ascii_is_refused(service: RunningService, field: str) -> None:
    """A value with bytes beyond ASCII answers 4xx, for an upload that is created and for one that is resumed."""
    path = begun(service, "a.bin", 3)
    good = CHUNK | {"upload-length": "3", "upload-metadata": upload_metadata(filename="b.bin")}
    created = service.client.post("/uploads", content=b"abc", headers={**good, field: NOT_ASCII[field]})
    resumed = service.client.patch(
        path, content=b"abc", headers={**CHUNK, "upload-offset": "0", field: NOT_ASCII[field]}
    )

    expected = {"tus-resumable": (412, "unsupported-tus")}.get(field, (422, "invalid-request"))
    assert (problem_of(created), problem_of(resumed)) == (expected, expected)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("upload-concat", "partial", "leave out 'parallelUploads'"),
        ("upload-concat", "final;/uploads/a /uploads/b", "concatenation"),
        ("upload-defer-length", "1", "leave out 'uploadLengthDeferred'"),
        ("upload-complete", "?0", "leave it out"),
        ("upload-offset", "0", "leave it out"),
        ("upload-something", "x", "leave it out"),
        ("tus-max-size", "1", "leave it out"),
        ("repr-digest", "sha-256=:YWJj:", "sha256"),
        ("content-digest", "sha-256=:YWJj:", "Upload-Checksum"),
        ("digest", "SHA-256=abc", "sha256"),
        ("content-md5", "abc", "sha256"),
        ("upload-extension", "concatenation", "creation"),
    ],
)
def test_a_header_that_would_be_ignored_is_refused(
    service: RunningService, models: Path, field: str, value: str, named: str
) -> None:
    """Extensions that are not supported, and unknown headers of tus, answer 422 that names them; nothing is created."""
    refused = begin(service, "a.bin", 3, **{field: value})

    assert problem_of(refused) == (422, "invalid-request")
    assert named in refused.json()["detail"]
    assert refused.json()["errors"][0]["where"] == ["header", field]
    assert service.client.get("/uploads").json()["count"] == 0
    assert not (models / "a.bin").exists()


def test_known_clients_are_understood(service: RunningService) -> None:
    """A client may name a supported extension, and repeat the length with each chunk."""
    path = begun(service, "a.bin", 3, upload_extension="creation")
    assert problem_of(append(service, path, 0, b"abc", upload_length="4")) == (422, "invalid-request")
    assert append(service, path, 0, b"abc", upload_length="3").status_code == 204


def test_a_length_that_is_too_large_is_said_to_be(service: RunningService) -> None:
    """A length above the limit is a number, so the refusal names the limit."""
    for length in ("9" * 20, "9" * 5000):
        headers = {"upload-length": length, "upload-metadata": upload_metadata(filename="a.bin")}
        refused = service.client.post("/uploads", headers=headers)
        assert problem_of(refused) == (422, "invalid-request")
        assert "it must be at most 4611686018427387904 bytes" in refused.json()["detail"]


@pytest.mark.parametrize("field", ["upload_offset", "upload_checksum", "tus_resumable"])
def test_a_header_that_is_sent_twice_is_refused(service: RunningService, field: str) -> None:
    """A header with two values answers 422; neither value is taken."""
    values = {"upload_offset": "0", "upload_checksum": checksum(b"abc"), "tus_resumable": "1.0.0"}
    path = begun(service, "a.bin", 3)
    twice = {**values, field.upper(): values[field], "content_type": CHUNK["content-type"], "content_length": 3}
    with RawPatch(service, path, **twice) as patch:
        patch.send(b"abc")
        assert patch.answer().startswith(b"HTTP/1.1 422 ")


@pytest.mark.parametrize(
    "metadata",
    ["filename YQ==,filename Yg==", "filename YQ==,, x", "filename YQ==,\xe9 YQ==", "x" * 9000, "filename  Y=Q="],
)
def test_metadata_that_breaks_the_protocol_is_refused(service: RunningService, metadata: str) -> None:
    """A key that is there twice or not ASCII, a value that is no base64, and too long a header answer 422."""
    headers: dict[str, Any] = {"upload-length": "3", "upload-metadata": metadata.encode("latin-1")}
    answer = service.client.post("/uploads", headers=headers)
    valid = metadata == "filename YQ==,, x"  # an empty pair is nothing, and a key may lack a value
    assert answer.status_code == (201 if valid else 422)


def test_head_returns_the_metadata(service: RunningService) -> None:
    """HEAD returns `Upload-Metadata` as it was sent, with keys that the service does not read."""
    sent = upload_metadata(filename="é/a.bin", filetype="application/x", sha256=hashlib.sha256(b"abc").hexdigest())
    created = service.client.post("/uploads", headers={"upload-length": "3", "upload-metadata": f"{sent},is_new"})

    assert service.client.head(created.headers["location"]).headers["upload-metadata"] == f"{sent},is_new"
    assert append(service, created.headers["location"], 0, b"abc").status_code == 204
    assert service.client.head(created.headers["location"]).headers["upload-metadata"] == f"{sent},is_new"


def test_every_answer_has_the_headers_of_tus(service: RunningService) -> None:
    """`Tus-Resumable` and `Cache-Control: no-store` are on every answer below /uploads, also of an unknown path."""
    path = begun(service, "a.bin", 3)
    answers = [
        service.client.options("/uploads"),
        service.client.get("/uploads"),
        service.client.head(path),
        service.client.head("/uploads/none"),
        service.client.put(path),
        service.client.get(f"{path}/further"),
        service.client.patch(path, headers={"host": "evil.example"}),
        append(service, path, 1, b"a"),
        append(service, path, 0, b"a"),
        service.client.delete(path),
    ]

    assert [answer.status_code for answer in answers] == [204, 200, 200, 404, 405, 404, 421, 409, 204, 204]
    assert {answer.headers["tus-resumable"] for answer in answers} == {"1.0.0"}
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert "tus-resumable" not in service.client.get("/models").headers


def test_options_ignores_the_version(service: RunningService) -> None:
    """OPTIONS answers 204 to any version, so that a client can learn which one to use."""
    answer = service.client.options("/uploads", headers={"tus-resumable": "2.0.0"})
    assert (answer.status_code, answer.headers["tus-version"]) == (204, "1.0.0")


def test_an_unsupported_checksum_algorithm_answers_400(service: RunningService) -> None:
    """Another algorithm than those of `Tus-Checksum-Algorithm` answers 400, as the protocol demands."""
    path = begun(service, "a.bin", 3)
    for algorithm in ("md5", "crc32", "SHA1"):
        refused = append(service, path, 0, b"abc", upload_checksum=f"{algorithm} YWJj")
        assert problem_of(refused) == (400, "unsupported-checksum")
        assert "sha1, sha256, sha512" in refused.json()["detail"]
    assert problem_of(append(service, path, 0, b"abc", upload_checksum="sha1")) == (422, "invalid-request")


def test_a_post_can_name_another_method(service: RunningService, models: Path) -> None:
    """`X-HTTP-Method-Override` on a POST sends a chunk, asks for the offset, and cancels the upload."""
    path = begun(service, "a.bin", 3)

    def post(method: str, content: bytes = b"", **headers: str) -> int:
        fields = {"x-http-method-override": method} | {name.replace("_", "-"): text for name, text in headers.items()}
        return service.client.post(path, content=content, headers=fields).status_code

    assert post("PATCH", b"ab", upload_offset="0", content_type=CHUNK["content-type"]) == 204
    head = service.client.post(path, headers={"x-http-method-override": "HEAD"})
    assert (head.status_code, head.headers["upload-offset"], head.json()["offset"]) == (200, "2", 2)
    assert post("TRACE") == post("patch") == 422
    assert service.client.get(path, headers={"x-http-method-override": "DELETE"}).status_code == 422
    assert post("DELETE") == 204
    assert service.client.head(path).status_code == 404
    assert not (models / "a.bin").exists()


def test_a_method_override_passes_no_check(service: RunningService) -> None:
    """A page of another origin cannot change anything by naming another method."""
    path = begun(service, "a.bin", 3)
    headers = {"x-http-method-override": "DELETE", "origin": "https://evil.example"}
    assert problem_of(service.client.post(path, headers=headers)) == (403, "cross-origin")
    assert service.client.head(path).status_code == 200


def test_a_refused_header_needs_no_body(service: RunningService) -> None:
    """A refusal for a header is sent before the body is read."""
    metadata = upload_metadata(filename="a.bin")
    fields = {"upload_metadata": metadata, "upload_length": 3, "upload_concat": "partial"}
    with RawPost(service, "/uploads", content_length=3, content_type=CHUNK["content-type"], **fields) as post:
        assert post.answer().startswith(b"HTTP/1.1 422 ")


def checksum(content: bytes) -> str:
    return f"sha256 {base64.b64encode(hashlib.sha256(content).digest()).decode()}"


@pytest.mark.parametrize("metadata", ["filename \u6f22", "a\r\nx-more: 1", "a\n", "x" * 9000, 5, ["a"]])
def test_metadata_on_record_that_no_header_can_carry_is_damage(
    service: RunningService, models: Path, metadata: object
) -> None:
    """A record with such metadata is reported, and its upload answers 404 instead of a broken head."""
    path = begun(service, "a.bin", 3)
    record = models / ".store" / "staging" / f"{path.rsplit('/', 1)[-1]}.json"
    fields = json.loads(record.read_text())
    fields["extra"]["metadata"] = metadata
    record.write_text(json.dumps(fields))

    for method in ("GET", "HEAD"):
        assert service.client.request(method, path).status_code == 404
    warnings = service.client.get("/uploads").json()["warnings"]
    assert [each["path"] for each in warnings] == [f".store/staging/{record.name}"]
    record.unlink()
