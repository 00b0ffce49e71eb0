"""ETags, `If-None-Match` and HEAD."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.api.http.conditional import matches
from app.store.inventory import model_at
from tests.support.service import RunningService
from tests.support.waiting import eventually


@pytest.fixture
def filled(service: RunningService, models: Path) -> RunningService:
    """Three models, and a list that will not change by itself any more: it shows these very files, all asked about."""
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
def test_who_has_the_answer_is_told_so_without_it(filled: RunningService, url: str) -> None:
    """304 with the same ETag and no body, for GET and for HEAD; whoever has another gets the answer."""
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


def test_several_headers_are_one_list(filled: RunningService) -> None:
    """As RFC 9110 has it."""
    etag = filled.client.get("/models").headers["etag"]

    answer = filled.client.get("/models", headers=[("if-none-match", '"other"'), ("if-none-match", etag)])

    assert answer.status_code == 304


def test_different_answers_have_different_etags(filled: RunningService) -> None:
    """The ETag is of what was asked for, and the same whichever way it was asked for."""
    etags = [filled.client.get(url).headers["etag"] for url in LISTS]

    assert len(set(etags)) == len(LISTS) - 1  # all three models are current
    assert filled.client.get("/models?sort=name").headers["etag"] == etags[0]


def test_a_poller_gets_the_change(filled: RunningService, models: Path) -> None:
    """304 until something changes, then the new answer with a new ETag."""
    etag = filled.client.get("/models").headers["etag"]
    assert filled.client.get("/models", headers={"if-none-match": etag}).status_code == 304

    with (models / "b.bin").open("ab") as growing:
        growing.write(b"yz")

    def changed() -> bool:
        answer = filled.client.get("/models", headers={"if-none-match": etag})
        return answer.status_code == 200 and [model["size_bytes"] for model in answer.json()["models"]] == [1, 3, 1]

    eventually(changed)
    assert filled.client.get("/models").headers["etag"] != etag


def test_the_etag_of_a_model_is_its_own(filled: RunningService) -> None:
    """The one that the list shows, and that a deletion takes."""
    answer = filled.client.get("/models/b.bin")

    assert answer.headers["etag"] == answer.json()["etag"]
    assert filled.client.delete("/models/b.bin", headers={"if-match": answer.headers["etag"]}).status_code == 200


def test_errors_have_no_etag(filled: RunningService) -> None:
    """An error is not something to keep, whatever the caller has."""
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
    """The same status and the same headers, its length and type among them."""
    # The engine's age has more digits later, and what is said of an unknown path names the method.
    own = {"date", "content-length"} if url in {"/engine", "/nope"} else {"date"}
    got = filled.client.get(url, headers={"x-request-id": "same"})
    head = filled.client.head(url, headers={"x-request-id": "same"})

    assert (head.status_code, head.content) == (got.status_code, b"")
    assert {name: value for name, value in head.headers.items() if name not in own} == {
        name: value for name, value in got.headers.items() if name not in own
    }


def test_head_changes_nothing_and_has_its_own_line_in_the_log(filled: RunningService) -> None:
    """What only POST may do, HEAD may not; the log has it under its own name."""
    refused = filled.client.head("/engine/release", headers={"x-request-id": "head-1"})

    assert (refused.status_code, refused.headers["allow"], refused.content) == (405, "POST", b"")
    assert eventually(lambda: [line for line in filled.log.splitlines() if '"head-1"' in line and '"HEAD"' in line])


opaque = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters='"'), max_size=8).map(
    lambda text: f'"{text}"'
)


@given(known=st.lists(opaque), etag=opaque, prefix=st.sampled_from(["", "W/"]), position=st.integers(0, 5))
def test_an_etag_is_found_wherever_it_stands_in_a_list(
    known: list[str],
    etag: str,
    prefix: str,
    position: int,
) -> None:
    """Commas and letters inside of an ETag do not divide it, and no other one is taken for it."""
    others = [other for other in known if other != etag]
    assert not matches(", ".join(others), etag)

    others.insert(position, prefix + etag)
    assert matches(",".join(others), etag)
