"""ETags, `If-None-Match` and HEAD."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.http.conditional import matches
from app.store.inventory import model_at
from tests.support.clients.answers import problem_of
from tests.support.clients.tus import upload_metadata
from tests.support.service import RunningService
from tests.support.waiting import eventually


@pytest.fixture
def filled(service: RunningService, models: Path) -> RunningService:
    """A service with three models whose list no longer changes: AsposeAI was asked about these files."""
    for name in ("a.gguf", "b.bin", "c.bin"):
        (models / name).write_bytes(b"x")
    etags = {path.name: model_at(path.name, path.stat()).etag for path in models.glob("?.*")}

    def is_settled() -> bool:
        listed = service.client.get("/models").json()["models"]
        shown = {model["name"]: model["etag"] for model in listed}
        return shown == etags and all(model["recognised"] is not None for model in listed)

    eventually(is_settled)
    return service


LISTS = ["/models", "/models?status=current", "/models?limit=2", "/models?name=nothing"]


@pytest.mark.parametrize("url", [*LISTS, "/models/a.gguf"])
def test_if_none_match_with_the_current_etag_answers_304(filled: RunningService, url: str) -> None:
    """GET and HEAD with the current ETag answer 304 without a body; with another ETag they answer 200."""
    first = filled.client.get(url)
    etag = first.headers["etag"]
    assert first.headers["cache-control"] == "no-cache"

    for known in (etag, f"W/{etag}", f'"other", {etag}', f'"other",W/{etag} , "x"', "*"):
        for method in ("GET", "HEAD"):
            again = filled.client.request(method, url, headers={"if-none-match": known})
            assert (again.status_code, again.content) == (304, b""), known
            assert (again.headers["etag"], again.headers["cache-control"]) == (etag, "no-cache")
    for unknown in ('"other"', etag.strip('"'), "", '"*"', etag[:-2] + '"'):
        again = filled.client.get(url, headers={"if-none-match": unknown})
        assert (again.status_code, again.content) == (200, first.content), unknown


def test_several_if_none_match_headers_are_one_list(filled: RunningService) -> None:
    """Several `If-None-Match` headers have the meaning of one header with all their ETags (RFC 9110)."""
    etag = filled.client.get("/models").headers["etag"]

    answer = filled.client.get("/models", headers=[("if-none-match", '"other"'), ("if-none-match", etag)])

    assert answer.status_code == 304


def test_different_answers_have_different_etags(filled: RunningService) -> None:
    """Equal answers have one ETag, also for different query strings; different answers have different ETags."""
    etags = [filled.client.get(url).headers["etag"] for url in LISTS]

    assert len(set(etags)) == len(LISTS) - 1  # all three models are current
    assert filled.client.get("/models?sort=name").headers["etag"] == etags[0]


def test_a_changed_list_has_a_new_etag(filled: RunningService, models: Path) -> None:
    """A poll with `If-None-Match` answers 304 until a model changes, then 200 with the new list and a new ETag."""
    etag = filled.client.get("/models").headers["etag"]
    assert filled.client.get("/models", headers={"if-none-match": etag}).status_code == 304

    with (models / "b.bin").open("ab") as growing:
        growing.write(b"yz")

    def changed() -> bool:
        answer = filled.client.get("/models", headers={"if-none-match": etag})
        return answer.status_code == 200 and [model["size_bytes"] for model in answer.json()["models"]] == [1, 3, 1]

    eventually(changed)
    assert filled.client.get("/models").headers["etag"] != etag


def test_the_etag_header_of_a_model_is_its_etag_field(filled: RunningService) -> None:
    """The ETag header of a model is its `etag` field, and a deletion accepts it in `If-Match`."""
    answer = filled.client.get("/models/b.bin")

    assert answer.headers["etag"] == answer.json()["etag"]
    assert filled.client.delete("/models/b.bin", headers={"if-match": answer.headers["etag"]}).status_code == 200


def test_errors_have_no_etag(filled: RunningService) -> None:
    """Errors have no ETag, and `If-None-Match: *` does not turn them into 304."""
    for url in ("/models/missing.bin", "/models?limit=0"):
        answer = filled.client.get(url, headers={"if-none-match": "*"})
        assert answer.status_code in {404, 422}
        assert "etag" not in answer.headers


@pytest.mark.parametrize(
    "url",
    [
        *LISTS, "/models/path", "/models/a.gguf", "/models/missing.bin", "/models?limit=0",
        "/trash", "/journal", "/engine", "/livez", "/readyz", "/docs", "/docs/swagger-ui.css", "/openapi.json", "/nope",
        "/",
    ],
)  # fmt: skip
def test_head_is_get_without_the_body(filled: RunningService, url: str) -> None:
    """HEAD answers with the status and the headers of GET, and no body."""
    # The uptime of the engine gets more digits, and the problem of an unknown path names the method.
    own = {"date", "content-length"} if url in {"/engine", "/nope"} else {"date"}
    got = filled.client.get(url, headers={"x-request-id": "same"})
    head = filled.client.head(url, headers={"x-request-id": "same"})

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert {name: value for name, value in head.headers.items() if name not in own} == {
        name: value for name, value in got.headers.items() if name not in own
    }


def test_head_of_a_post_route_answers_405_and_is_logged_as_head(filled: RunningService) -> None:
    """HEAD at a route that has only POST answers 405, and the log has the method HEAD."""
    refused = filled.client.head("/engine/release", headers={"x-request-id": "head-1"})

    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")
    assert eventually(lambda: [line for line in filled.log.splitlines() if '"head-1"' in line and '"HEAD"' in line])


opaque = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=8).map(
    lambda text: f'"{text}"'
)


@given(known=st.lists(opaque), etag=opaque, prefix=st.sampled_from(["", "W/"]), position=st.integers(0, 5))
def test_an_etag_is_found_at_any_position_of_a_list(
    known: list[str],
    etag: str,
    prefix: str,
    position: int,
) -> None:
    """`matches` finds an ETag at any position of the list, also with commas inside ETags, and matches no other ETag."""
    others = [other for other in known if other != etag]
    assert not matches(", ".join(others), etag)

    others.insert(position, prefix + etag)
    assert matches(",".join(others), etag)


@pytest.mark.parametrize(("field", "refusal"), [("if-match", 412), ("if-none-match", 422)])
@pytest.mark.parametrize("value", ["18-18e9fc0680810521", '"a', "any", "", "\xe9", '*, "a"', '"a",*', "*, *", "*a"])
def test_a_change_never_ignores_a_malformed_condition(
    service: RunningService, models: Path, field: str, value: str, refusal: int
) -> None:
    """A condition that is neither etags in quotes nor a single `*` is refused by all changes, and nothing changes."""
    (models / "a.bin").write_bytes(b"abc")
    headers: dict[str, Any] = {field: value.encode("latin-1")}
    upload = headers | {"upload-length": "3", "upload-metadata": upload_metadata(filename="b.bin")}
    answers = [
        service.client.put("/models/a.bin", content=b"new", headers=headers),
        service.client.put("/models/b.bin", content=b"new", headers=headers),
        service.client.post("/uploads", headers=upload),
    ]
    if field == "if-match":
        answers.append(service.client.delete("/models/a.bin", headers=headers))

    assert {answer.status_code for answer in answers} == {refusal}
    assert [path.name for path in models.glob("*.bin")] == ["a.bin"]
    assert (models / "a.bin").read_bytes() == b"abc"


def test_if_none_match_of_a_change_compares_weakly(service: RunningService, models: Path) -> None:
    """A weak etag in `If-None-Match` excludes the version, as RFC 9110 says; in `If-Match` it matches nothing."""
    (models / "a.bin").write_bytes(b"abc")
    weak = "W/" + service.client.get("/models/a.bin").headers["etag"]

    excluded = service.client.put("/models/a.bin", content=b"new", headers={"if-match": "*", "if-none-match": weak})
    assert problem_of(excluded) == (412, "condition-failed")
    assert problem_of(service.client.delete("/models/a.bin", headers={"if-match": weak})) == (412, "model-changed")
