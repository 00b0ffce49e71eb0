"""Every error is answered with a problem detail that says what to do."""

from pathlib import Path

import pytest

from app import errors
from app.api.http.problem_table import INTERNAL_ERROR, PROBLEM_TYPES
from app.api.http.problem_types import TYPE_PREFIX
from app.api.http.problems import PROBLEM_MEDIA_TYPE
from tests.support.service import RunningService

DOCS = Path(__file__).parents[3] / "docs" / "api" / "errors.md"
MEMBERS = {"type", "title", "status", "detail", "instance", "request_id"}


@pytest.mark.parametrize(
    ("method", "path", "status", "slug"),
    [
        ("GET", "/nope", 404, "not-found"),
        ("GET", "/docs/nope", 404, "not-found"),
        ("PATCH", "/models", 405, "method-not-allowed"),
        ("GET", "/models/nope.bin", 404, "model-not-found"),
        ("GET", "/models/", 422, "invalid-model-name"),
        ("GET", "/models/path?name=..", 422, "invalid-model-name"),
        ("GET", "/models/a%0Ab", 422, "invalid-model-name"),
        ("GET", "/models/a%0A", 422, "invalid-model-name"),
        ("DELETE", "/models/.store/store.json", 422, "invalid-model-name"),
    ],
)
def test_errors_of_the_framework_and_of_the_domain_have_one_format(
    service: RunningService, method: str, path: str, status: int, slug: str
) -> None:
    """Errors of FastAPI and of the domain have the members of a problem, with the id of the `x-request-id` header."""
    answer = service.client.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM_MEDIA_TYPE)
    problem = answer.json()
    assert problem.keys() >= MEMBERS
    assert (problem["status"], problem["type"]) == (status, TYPE_PREFIX + slug)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert len(problem["detail"]) > 20


def test_a_body_that_is_not_utf8_answers_422(service: RunningService) -> None:
    """A body that is not UTF-8 answers 422 `invalid-request`, like any invalid JSON."""
    for body in (b"\x80\x81", b"{", b"[]"):
        answer = service.client.post("/pulls", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["type"]) == (422, TYPE_PREFIX + "invalid-request")


def test_404_and_405_say_what_is_wrong_in_a_sentence(service: RunningService) -> None:
    """An unknown path and a wrong method are told in a sentence, which names the methods that are possible."""
    unknown, wrong = service.client.get("/nope"), service.client.patch("/models/a.bin")

    assert unknown.json()["detail"] == "This service has nothing at /nope. The docs page lists all operations."
    assert wrong.json()["detail"] == (
        "/models/a.bin does not support PATCH, only DELETE, GET, HEAD, PUT. The docs page lists all operations."
    )


def test_405_lists_the_allowed_methods(service: RunningService) -> None:
    """The answer 405 has an `Allow` header with all methods of the path."""
    assert service.client.put("/engine").headers["allow"] == "GET, HEAD"
    assert service.client.patch("/models/a.bin").headers["allow"] == "DELETE, GET, HEAD, PUT"
    assert service.client.delete("/models").headers["allow"] == "GET, HEAD"


def test_a_callers_request_id_is_kept(service: RunningService) -> None:
    """A caller's `x-request-id` is returned; one that is too long is replaced by a new id."""
    assert service.client.get("/livez", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert len(service.client.get("/livez", headers={"x-request-id": "x" * 999}).headers["x-request-id"]) == 32


def test_every_problem_is_documented() -> None:
    """docs/api/errors.md has a row with the status for each problem type."""
    documented = DOCS.read_text()

    for kind in [*PROBLEM_TYPES.values(), INTERNAL_ERROR]:
        assert f"| `{kind.slug}` | {kind.status} |" in documented


def test_every_error_of_the_domain_has_a_problem_type() -> None:
    """Each ServiceError without subclasses is in the problem table, and no two entries share a type."""
    leaves = [cls for cls in vars(errors).values() if isinstance(cls, type) and not cls.__subclasses__()]

    domain = [cls for cls in leaves if issubclass(cls, errors.ServiceError)]
    assert domain
    assert all(cls in PROBLEM_TYPES for cls in domain)
    assert len({kind.slug for kind in PROBLEM_TYPES.values()}) == len(PROBLEM_TYPES)
