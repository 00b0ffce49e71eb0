"""Every error is a problem detail that says what to do."""

from pathlib import Path

import pytest

from app import errors
from app.api.http.problem_table import INTERNAL_ERROR, PROBLEM_TYPES
from app.api.http.problem_types import TYPE_PREFIX
from app.api.http.problems import MEDIA_TYPE
from tests.support.service import RunningService

DOCS = Path(__file__).parents[3] / "docs" / "api.md"
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
def test_errors_of_the_framework_and_of_the_domain_look_alike(
    service: RunningService, method: str, path: str, status: int, slug: str
) -> None:
    """One format, with the request's id as in its header."""
    answer = service.client.request(method, path)

    assert (answer.status_code, answer.headers["content-type"]) == (status, MEDIA_TYPE)
    problem = answer.json()
    assert problem.keys() >= MEMBERS
    assert (problem["status"], problem["type"]) == (status, TYPE_PREFIX + slug)
    assert problem["request_id"] == answer.headers["x-request-id"]
    assert len(problem["detail"]) > 20


def test_a_body_that_is_no_text_is_a_wrong_one(service: RunningService) -> None:
    """Like JSON that is wrong in any other way: 422."""
    for body in (b"\x80\x81", b"{", b"[]"):
        answer = service.client.post("/pulls", content=body, headers={"content-type": "application/json"})
        assert (answer.status_code, answer.json()["type"]) == (422, TYPE_PREFIX + "invalid-request")


def test_a_method_that_is_not_allowed_says_which_are(service: RunningService) -> None:
    """405 carries Allow."""
    assert service.client.put("/engine").headers["allow"] == "GET, HEAD"
    assert service.client.patch("/models/a.bin").headers["allow"] == "DELETE, GET, HEAD, PUT"
    assert service.client.delete("/models").headers["allow"] == "GET, HEAD"


def test_a_callers_request_id_is_kept(service: RunningService) -> None:
    """So that a request can be followed through several services; a harmful one is replaced."""
    assert service.client.get("/livez", headers={"x-request-id": "abc-1"}).headers["x-request-id"] == "abc-1"
    assert len(service.client.get("/livez", headers={"x-request-id": "x" * 999}).headers["x-request-id"]) == 32


def test_every_problem_is_documented() -> None:
    """docs/api.md has a row for each type, with its status."""
    documented = DOCS.read_text()

    for kind in [*PROBLEM_TYPES.values(), INTERNAL_ERROR]:
        assert f"| `{kind.slug}` | {kind.status} |" in documented


def test_every_error_of_the_domain_has_a_status() -> None:
    """None is forgotten in the table, and each has a type of its own."""
    leaves = [cls for cls in vars(errors).values() if isinstance(cls, type) and not cls.__subclasses__()]

    domain = [cls for cls in leaves if issubclass(cls, errors.ServiceError)]
    assert domain
    assert all(cls in PROBLEM_TYPES for cls in domain)
    assert len({kind.slug for kind in PROBLEM_TYPES.values()}) == len(PROBLEM_TYPES)
