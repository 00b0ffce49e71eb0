"""What a request asks for is never ignored: unknown parameters, conditions, encodings, parts and expectations."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.clients.answers import problem_of
from tests.support.clients.openapi_document import inlined
from tests.support.service import RunningService

JSON = {"content-type": "application/json"}
PATHS = {
    "{name}": "a.bin",
    "{trash_id}": "20261121T092012Z-0a1b23a56954",
    "{job_id}": "20261121T092012Z-0a1b23a56954",
    "{upload_id}": "0" * 32,
}
OF_PYDANTIC = ("Value error", "Extra inputs", "Input should", "String should", "Field required", "regular", "^", "\\")
"""Parts of pydantic's sentences, which speak to programmers in Python."""


def operations(service: RunningService) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the method, the path and the description of every operation, but for the probe that reads nothing."""
    for template, methods in inlined(service.client.get("/docs/openapi.json").json())["paths"].items():
        path = template
        for placeholder, value in PATHS.items():
            path = path.replace(placeholder, value)
        for method, operation in methods.items():
            if path != "/livez":
                yield method.upper(), path, operation


def refusal_of(answer: httpx.Response) -> tuple[int, list[str], str]:
    """Return the status of a refusal, where it is, and its sentence."""
    error = answer.json()["errors"][0]
    return answer.status_code, error["where"], error["message"]


def test_no_operation_ignores_an_unknown_parameter(service: RunningService, models: Path) -> None:
    """Every operation answers 422 to a misspelt parameter, names the parameter meant, and does nothing."""
    (models / "a.bin").write_bytes(b"abc")
    for method, path, operation in operations(service):
        known = [each["name"] for each in operation.get("parameters", []) if each["in"] == "query"]
        unknown = f"{known[0]}x" if known else "limti"
        answer = service.client.request(method, path, params={unknown: "1"})
        assert answer.status_code == 422, (method, path)
        if method != "HEAD":
            _, where, message = refusal_of(answer)
            assert where == ["query", unknown]
            assert (f"did you mean '{known[0]}'?" in message) if known else ("has no parameters" in message), message
    assert (models / "a.bin").exists()


def test_no_operation_takes_a_parameter_twice(service: RunningService, models: Path) -> None:
    """A parameter that is given twice answers 422, so that neither value is taken."""
    (models / "a.bin").write_bytes(b"abc")
    for path in ("/models?limit=1&limit=2", "/trash/x/restore?as=a&as=b", "/models/a.bin?dry_run=true&dry_run=false"):
        method = {"/models/": "DELETE", "/trash/x": "POST"}.get(path[:8], "GET")
        assert refusal_of(service.client.request(method, path))[2] == "it is given more than once"
    assert (models / "a.bin").exists()


def test_a_parameter_of_the_body_is_not_one_of_the_query(service: RunningService) -> None:
    """`dry_run` in the query of a prune answers 422 that names the place where it belongs."""
    answer = service.client.post("/prune?dry_run=false", json={})
    assert refusal_of(answer)[1] == ["query", "dry_run"]
    assert "belongs in the JSON body" in answer.json()["detail"]


def test_no_operation_ignores_a_body(service: RunningService, models: Path) -> None:
    """A body where none is read answers 422 that names the query's parameters; `{}` and `null` are no body."""
    (models / "a.bin").write_bytes(b"abc")
    for method, path, operation in operations(service):
        if method in {"POST", "PUT", "PATCH", "DELETE"} and "requestBody" not in operation:
            answer = service.client.request(method, path, json={"dry_run": True})
            assert refusal_of(answer)[:2] == (422, ["body"]), (method, path)
    refused = service.client.request("DELETE", "/models/a.bin", json={"dry_run": True})
    assert "dry_run, permanent, release" in refused.json()["detail"]
    assert (models / "a.bin").exists()
    assert service.client.request("DELETE", "/models/a.bin", json={}).status_code == 200


def test_no_operation_decodes_or_ignores_an_encoding(service: RunningService) -> None:
    """A Content-Encoding answers 415 with `Accept-Encoding: identity`; `identity` itself is taken."""
    for method, path, operation in operations(service):
        if "requestBody" in operation:
            for coding in ("gzip", "GZIP", "br", "identity, deflate", "x"):
                answer = service.client.request(
                    method, path, content=b"{}", headers=JSON | {"content-encoding": coding}
                )
                assert problem_of(answer) == (415, "unsupported-body"), (method, path, coding)
                assert answer.headers["accept-encoding"] == "identity"
    headers = JSON | {"content-encoding": "identity"}
    assert service.client.post("/prune", content=b"{}", headers=headers).status_code == 200


def test_no_operation_takes_a_part_for_the_whole(service: RunningService) -> None:
    """A body with `Content-Range` answers 400, as RFC 9110 demands of PUT."""
    for method, path, operation in operations(service):
        if "requestBody" in operation:
            headers = JSON | {"content-range": "bytes 0-1/9"}
            answer = service.client.request(method, path, content=b"{}", headers=headers)
            assert problem_of(answer) == (400, "partial-body"), (method, path)


def test_no_operation_ignores_an_expectation(service: RunningService) -> None:
    """A change with another expectation than `100-continue` answers 417."""
    for method, path, _ in operations(service):
        for expectation in ("200-ok", "100-continue, more") if method not in {"GET", "HEAD", "OPTIONS"} else ():
            answer = service.client.request(method, path, headers={"expect": expectation})
            assert answer.status_code == 417, (method, path)


def test_no_change_ignores_a_condition(service: RunningService, models: Path) -> None:
    """A condition that a change does not check answers 422, and the change is not made."""
    (models / "a.bin").write_bytes(b"abc")
    for method, path, operation in operations(service):
        read = {each["name"].lower() for each in operation.get("parameters", [])}
        for condition in ("if-match", "if-none-match", "if-unmodified-since"):
            if method in {"POST", "PUT", "PATCH", "DELETE"} and condition not in read:
                answer = service.client.request(method, path, headers={condition: '"x"'})
                assert refusal_of(answer)[:2] == (422, ["header", condition]), (method, path, condition)
    assert (models / "a.bin").exists()


@pytest.mark.parametrize(
    ("method", "path", "body", "where", "says"),
    [
        ("POST", "/prune", {"dryrun": True}, ["body", "dryrun"], "there is no such field; did you mean 'dry_run'?"),
        ("POST", "/prune", {"dry_run": False}, ["body"], "to execute a plan, send the plan_id"),
        ("POST", "/prune", {"dry_run": "no"}, ["body", "dry_run"], "must be true or false"),
        ("POST", "/prune", {"reasons": ["corupt"]}, ["body", "reasons", 0], "did you mean 'corrupt'?"),
        ("POST", "/prune", [], ["body"], "must be a JSON object"),
        ("POST", "/pulls", {}, ["body"], "Give one of repository, url and resource"),
        ("POST", "/pulls", {"url": "http://x/a", "revision": "v1"}, ["body"], "revision must not be given"),
        ("POST", "/pulls", {"repository": "a b", "file": "x"}, ["body", "repository"], "such as org/repo"),
        ("POST", "/pulls", {"url": "http://x/a", "sha256": "abc"}, ["body", "sha256"], "64 hexadecimal digits"),
        ("POST", "/pulls", {"url": "http://x/a", "if_exists": "kep"}, ["body", "if_exists"], "did you mean 'keep'?"),
        ("POST", "/ai/spell-check", {"text": ["a"]}, ["body", "texts"], "is required"),
        ("POST", "/ai/spell-check", {"texts": []}, ["body", "texts"], "must have at least 1 item"),
        ("POST", "/ai/spell-check", {"texts": [1]}, ["body", "texts", 0], "must be text"),
        ("POST", "/ai/keywords", {"texts": ["a"], "keywords": [""]}, ["body", "keywords", 0], "at least 1 character"),
        ("PUT", "/models/a.bin/protection", {"reason": " "}, ["body", "reason"], "must be a reason in words"),
        ("PUT", "/models/a.bin/protection", {"reason": 7}, ["body", "reason"], "must be text"),
        ("POST", "/engine/load", {"processor": "spellcheck"}, ["body", "processor"], "must be "),
        ("GET", "/models?limit=many", None, ["query", "limit"], "must be a whole number"),
        ("GET", "/models?limit=1_0", None, ["query", "limit"], "must be a whole number"),
        ("GET", "/pulls?limit=1.0", None, ["query", "limit"], "must be a whole number"),
        ("GET", "/journal?limit=%201", None, ["query", "limit"], "must be a whole number"),
        ("GET", "/models?min_size=%D9%A3", None, ["query", "min_size"], "must be a whole number"),
        ("GET", "/models?limit=0", None, ["query", "limit"], "must be at least 1"),
        ("GET", "/pulls?state=runing", None, ["query", "state"], "did you mean 'running'?"),
        ("GET", "/models?status=odl", None, ["query", "status"], "did you mean 'old'?"),
        ("GET", "/models?min_size=-1", None, ["query", "min_size"], "must be at least 0"),
        ("GET", "/models?sort=nam", None, ["query", "sort"], "did you mean 'name'?"),
        ("DELETE", "/models/a.bin?dry_run", None, ["query", "dry_run"], "must be true or false"),
        ("GET", "/readyz?verbose=yes", None, ["query", "verbose"], "'true' or 'false'"),
        ("POST", "/ocr?language=en", None, ["query", "language"], "did you mean 'eng' (English)?"),
        ("POST", "/ocr?language=ENG", None, ["query", "language"], "did you mean 'eng' (English)?"),
        ("POST", "/ocr?language=latn", None, ["query", "language"], "the most similar are 'latin'"),
        ("POST", "/ocr?areas=tables", None, ["query", "areas"], "did you mean 'table'?"),
        ("POST", "/ocr?pages=1;3", None, ["query", "pages"], "such as 3 or 2-5 or 1,3,5-"),
        ("POST", "/ocr?pages=-2", None, ["query", "pages"], "such as 3 or 2-5 or 1,3,5-"),
        ("POST", "/ocr?pages=3%0A", None, ["query", "pages"], "such as 3 or 2-5 or 1,3,5-"),
        ("POST", "/ocr?pages=5-2", None, ["query", "pages"], "the first page comes after the last"),
        ("POST", "/prune", None, ["body"], "a JSON object is required"),
        ("POST", "/ocr?langauge=deu", None, ["query", "langauge"], "did you mean 'language'?"),
        ("POST", "/ocr?priority=high", None, ["query", "priority"], "only a job has a priority"),
        ("POST", "/ai/spell-check?priority=low", {"texts": ["a"]}, ["query", "priority"], "only a job has a priority"),
        ("POST", "/pulls", {"url": "http://x/a", "webhook": 5}, ["body", "webhook"], "must be text"),
        ("POST", "/ocr/jobs", [], ["body"], "'uploads', with the ids of finished uploads"),
        ("POST", "/ocr", [], ["body"], "a JSON object is required; it must have exactly one of these members: 'url'"),
    ],
)
def test_a_refusal_names_what_is_allowed(
    service: RunningService, method: str, path: str, body: object, where: list[str | int], says: str
) -> None:
    """A wrong value is refused in words of this API, never in pydantic's."""
    answer = service.client.request(method, path, **({} if body is None else {"json": body}))  # type: ignore[arg-type]

    status, place, message = refusal_of(answer)
    assert (status, place) == (422, where)
    assert says in message
    assert not any(part in answer.json()["detail"] for part in OF_PYDANTIC), answer.json()["detail"]


def test_a_lone_surrogate_in_json_is_named(service: RunningService) -> None:
    """JSON can state half of a pair of surrogates, which no URL has; the refusal does not say that it is not JSON."""
    answer = service.client.post("/ocr/jobs", content=rb'{"urls": ["http://x/\ud800"]}', headers=JSON)

    assert refusal_of(answer) == (422, ["body"], "must be text without lone surrogates")


def test_json_of_another_type_is_refused(service: RunningService) -> None:
    """A JSON body that is announced as a form, as curl does by default, or as nothing, answers 415."""
    form = {"content-type": "application/x-www-form-urlencoded"}
    assert problem_of(service.client.post("/prune", content=b"{}", headers=form)) == (415, "unsupported-body")
    none = service.client.post("/prune", content=b"{}")
    assert problem_of(none) == (415, "unsupported-body")
    assert "Content-Type: application/json" in none.json()["detail"]
    assert service.client.post("/prune", content=b"{", headers=JSON).json()["detail"].startswith("body.1: ")


@pytest.mark.parametrize("path", ["/ocr", "/ai/table"])
@pytest.mark.parametrize("data", [{"image": "x"}, {"langauge": "deu"}])
def test_no_field_of_a_form_is_ignored(service: RunningService, path: str, data: dict[str, str]) -> None:
    """A field of the form that is neither `file` nor an option answers 422 that names it and a similar option."""
    answer = service.client.post(path, data=data, files={"file": ("a.png", b"read this", "image/png")})

    assert problem_of(answer) in {(422, "invalid-request"), (501, "engine-lacks")}
    if answer.status_code == 422:
        assert next(iter(data)) in answer.json()["detail"]
        assert "did you mean" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "where"),
    [
        (b'{"dry_run": true, "dry_run": false, "plan_id": "x"}', ["body", "dry_run"]),
        (b'{"permanent": false, "permanent": true}', ["body", "permanent"]),
        (b'{"permanent": NaN}', ["body"]),
        (b"[" * 100_000, ["body"]),
        (b'{"reasons": ' * 50_000, ["body"]),
    ],
)
def test_no_member_of_a_body_is_ignored(service: RunningService, body: bytes, where: list[str]) -> None:
    """A name that is in a JSON object twice, NaN and a nesting that no parser follows answer 422 that tells it."""
    assert refusal_of(service.client.post("/prune", content=body, headers=JSON))[:2] == (422, where)


def test_no_operation_ignores_another_method_in_a_header(service: RunningService, models: Path) -> None:
    """A header that means another method answers 422 where tus does not have it, and nothing is done."""
    (models / "a.bin").write_bytes(b"abc")
    for field in ("x-http-method-override", "x-http-method", "x-method-override"):
        refused = service.client.delete("/models/a.bin", headers={field: "GET"})
        assert refusal_of(refused)[:2] == (422, ["header", field])
        assert service.client.get("/models/a.bin", headers={field: "DELETE"}).status_code == 422
    assert (models / "a.bin").exists()


def test_no_digest_in_a_trailer_is_ignored(service: RunningService, models: Path) -> None:
    """A digest that is announced as a trailer would not be checked, so the request answers 422."""
    for method, path in (("PUT", "/models/a.bin"), ("POST", "/uploads"), ("PATCH", f"/uploads/{'0' * 32}")):
        for trailer in ("Repr-Digest", "x, content-digest", "Upload-Checksum"):
            refused = service.client.request(method, path, content=iter([b"abc"]), headers={"trailer": trailer})
            assert refusal_of(refused)[:2] == (422, ["header", "trailer"]), (method, trailer)
    assert not (models / "a.bin").exists()


def test_a_number_with_too_many_digits_is_explained(service: RunningService) -> None:
    """A number that Python does not read answers 422 with a sentence, and no longer 400 of the framework."""
    answer = service.client.post(
        "/prune", content=b'{"plan_id": ' + b"9" * 5000 + b"}", headers={"content-type": "application/json"}
    )

    assert refusal_of(answer)[2] == "a number in it has too many digits"
