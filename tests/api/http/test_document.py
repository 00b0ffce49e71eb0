"""The OpenAPI document, as the service and `python -m app openapi` make it."""

import gzip
import json
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from app.api.docs.compact_document import compact
from app.api.http.problem_table import PROBLEM_TYPES
from app.api.jobs.schemas import JobOut
from app.main import create_app
from app.settings import Settings
from tests.conftest import Serve
from tests.support.clients.openapi_document import inlined, statuses_of
from tests.support.service import RunningService


def answers_of(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    """Return the answers of an operation by status."""
    return dict(document["paths"][path][method]["responses"])


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return inlined(create_app(Settings()).openapi())


@pytest.mark.parametrize(
    ("path", "method", "status", "kind"),
    [
        ("/ocr", "post", "202", "images"),
        ("/ocr/jobs", "post", "202", "images"),
        ("/ocr/jobs/{job_id}", "get", "200", "images"),
        ("/ocr/jobs/{job_id}", "delete", "202", "images"),
        ("/ai/query", "post", "202", "texts"),
        ("/ai/jobs/{job_id}", "get", "200", "texts"),
    ],
)
def test_the_example_of_a_job_is_of_its_kind(
    document: dict[str, Any], path: str, method: str, status: str, kind: str
) -> None:
    """An answer with a job on images or texts does not show a pull as its example."""
    (example,) = answers_of(document, path, method)[status]["content"]["application/json"]["examples"].values()
    assert JobOut.model_validate(example["value"]).kind == kind


def test_the_document_depends_on_whether_keys_are_set(document: dict[str, Any], tmp_path: Path) -> None:
    """Only the document of a service with keys has 401 and 403 `missing-scope`, and requires a key."""
    with_keys = inlined(create_app(Settings(api_keys_file=tmp_path / "keys.toml")).openapi())
    assert {"401", "403"} <= statuses_of(with_keys, "/models", "get").keys()
    assert {"401", "403"}.isdisjoint(statuses_of(document, "/models", "get"))
    assert "401" not in statuses_of(with_keys, "/version", "get")
    assert {} in document["paths"]["/models"]["get"]["security"]
    assert {} not in with_keys["paths"]["/models"]["get"]["security"]


def test_a_form_comes_first_and_has_only_files(document: dict[str, Any]) -> None:
    """Generators offer the first media type of a body, and would offer an option of a form beside that of the query.

    Two of them prefer JSON to a form, wherever it stands, so JSON is not a media type of these bodies.
    """
    binary = {"type": "string", "format": "binary"}
    for path, file in {
        "/ocr": binary,
        "/ai/table": binary,
        "/ocr/jobs": {"type": "array", "items": binary, "minItems": 1},
    }.items():
        contents = document["paths"][path]["post"]["requestBody"]["content"]
        assert "application/json" not in contents
        media_type, content = next(iter(contents.items()))
        assert media_type == "multipart/form-data"
        assert content["schema"]["properties"] == {"file": file}


def test_every_operation_has_the_statuses_that_any_request_can_get(document: dict[str, Any]) -> None:
    """What refuses a request before its route is in the answers of each operation, as the docs page promises."""
    for path, methods in document["paths"].items():
        for method in methods:
            expected = {"400", "408", "431", "500"} | (set() if method in {"get", "head", "options"} else {"417"})
            assert expected <= statuses_of(document, path, method).keys(), (method, path)


@pytest.mark.parametrize("keys_file", [None, Path("keys.toml")])
def test_the_document_is_small(keys_file: Path | None) -> None:
    """The document for programs is below 150 kB; in the one that the pages show, no problem is described twice."""
    complete = create_app(Settings(api_keys_file=keys_file)).openapi()
    examples = [json.dumps(each) for each in complete["components"]["examples"].values()]
    assert len(examples) == len(set(examples)) > 80
    assert bytes_of(complete).count(b"urn:ocr-model-service:problem:wrong-host") == 1
    assert len(bytes_of(complete)) < 300_000
    assert len(bytes_of(compact(complete))) < 150_000
    assert len(gzip.compress(bytes_of(compact(complete)))) < 30_000


def bytes_of(document: dict[str, Any]) -> bytes:
    """Return a document as the service sends it."""
    return json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()


def test_the_service_has_both_forms_of_the_document(service: RunningService) -> None:
    """Programs get the small document, the pages the complete one."""
    small, complete = (service.client.get(path) for path in ("/openapi.json", "/docs/openapi.json"))
    assert len(small.content) < 150_000 < len(complete.content)
    assert small.json() == compact(complete.json())


def test_the_small_document_describes_the_same_operations(document: dict[str, Any]) -> None:
    """The document for programs has all operations, parameters, bodies, statuses, problem types and schemas."""
    small = inlined(compact(create_app(Settings()).openapi()))
    assert small["components"]["schemas"].keys() == document["components"]["schemas"].keys()
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if method in {"head", "options"}:
                continue
            found = small["paths"][path][method]
            assert found["summary"] == operation["summary"]
            assert operation["description"].startswith(found["description"].split(" ")[0])
            assert [without_words(each) for each in found.get("parameters", [])] == [
                without_words(each) for each in operation.get("parameters", [])
            ]
            assert without_words(found.get("requestBody")) == without_words(operation.get("requestBody"))
            assert found["responses"].keys() == operation["responses"].keys()
            for status, answer in found["responses"].items():
                assert content_of(answer) == content_of(operation["responses"][status]), (method, path, status)
                assert answer["description"]


def content_of(answer: dict[str, Any]) -> object:
    """Return what an answer holds: its media types with their schemas, and the types of a problem."""
    content = answer.get("content", {})
    slugs = [kind.slug for kind in PROBLEM_TYPES.values()] if "application/problem+json" in content else []
    types = [slug for slug in slugs if f"`{slug}`" in answer["description"]] or [
        slug for slug in slugs if slug in content["application/problem+json"].get("examples", {})
    ]
    return types, {kind: each["schema"] for kind, each in content.items()}


def without_words(part: Any) -> Any:
    """Return a part of the document without its descriptions."""
    if isinstance(part, dict):
        return {name: without_words(value) for name, value in part.items() if name != "description"}
    return [without_words(each) for each in part] if isinstance(part, list) else part


@pytest.mark.parametrize("form", [dict, compact])
def test_each_component_is_used(form: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """No component of the document is left over, and each reference has its target."""
    document = form(create_app(Settings()).openapi())
    used = set(re.findall(r'"#/components/([^"]+)"', json.dumps(document)))
    there = {f"{kind}/{name}" for kind, parts in document["components"].items() for name in parts}
    assert there - used == {"securitySchemes/api_key"}
    assert used <= there


def test_the_contract_calls_come_first(document: dict[str, Any]) -> None:
    """The operations begin with the three that most callers need, and the tags are in the order of use."""
    operations = [each["operationId"] for methods in document["paths"].values() for each in methods.values()]
    tags = [tag["name"] for tag in document["tags"]]
    shown = [each["operationId"] for each in by_tag(document)["models"] if not each["operationId"].startswith("head")]
    assert shown[:3] == ["list_models", "get_models_path", "delete_model"]
    assert tags[:3] == ["models", "recognition", "engine"]
    assert sorted(tags, key=lambda tag: operations.index(by_tag(document)[tag][0]["operationId"])) == tags


def by_tag(document: dict[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Return the operations of each tag, in the order of the document."""
    found: dict[str, list[dict[str, Any]]] = {}
    for methods in document["paths"].values():
        for operation in methods.values():
            found.setdefault(operation["tags"][0], []).append(operation)
    return found


def test_the_names_of_schemas_say_their_direction(document: dict[str, Any]) -> None:
    """The name of each schema of an object ends in `In` or `Out`; the one problem that all errors have is `Problem`."""
    names = {name for name, schema in document["components"]["schemas"].items() if "enum" not in schema}
    assert {name for name in names if not name.endswith(("In", "Out"))} == {"Problem"}


def test_the_same_verb_means_the_same(document: dict[str, Any]) -> None:
    """A GET lists, gets or streams; the names of operations do not mix other verbs into that."""
    for methods in document["paths"].values():
        for method, verbs in {"get": ("list_", "get_", "stream_"), "head": ("head_",)}.items():
            if method in methods:
                assert methods[method]["operationId"].startswith(verbs)


def test_the_document_names_its_server_contact_and_licence(tmp_path: Path) -> None:
    """The document says where the service is, under its prefix too, whom to ask, and which licence it has."""
    for prefix, url in (("", "/"), ("/models-api", "/models-api")):
        document = create_app(Settings(root_path=prefix)).openapi()
        assert [server["url"] for server in document["servers"]] == [url]
        assert document["info"]["contact"]["name"]
        assert document["info"]["license"]["identifier"] == "MIT"


def test_the_document_is_compressed_and_revalidated(service: RunningService) -> None:
    """The document is sent with gzip to those who take it, under an ETag of its own, and not sent again unchanged."""
    forms = {}
    for coding in ("gzip", "identity", "gzip;q=0, *;q=1"):
        answer = service.client.get("/openapi.json", headers={"accept-encoding": coding})
        assert answer.headers.get("content-encoding") == ("gzip" if coding == "gzip" else None)
        assert answer.headers["vary"] == "accept-encoding"
        assert answer.json()["openapi"].startswith("3.1")
        forms[answer.headers["etag"]] = answer.json()
        known = {"accept-encoding": coding, "if-none-match": answer.headers["etag"]}
        again = service.client.get("/openapi.json", headers=known)
        assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", answer.headers["etag"])
    assert len(forms) == 2
    assert not any(etag.startswith("W/") for etag in forms)


def test_every_example_fits_its_schema(document: dict[str, Any]) -> None:
    """Each example of a schema, of an answer and of a body is one that the schema allows."""
    components = {"components": document["components"]}
    for schema in document["components"]["schemas"].values():
        for example in schema.get("examples", []):
            jsonschema_rs.validate(schema | components, example)
    for path, methods in document["paths"].items():
        for operation in methods.values():
            for answer in (*operation["responses"].values(), operation.get("requestBody", {})):
                for content in answer.get("content", {}).values():
                    examples = [each["value"] for each in content.get("examples", {}).values()]
                    for example in (*examples, *([content["example"]] if "example" in content else [])):
                        assert jsonschema_rs.is_valid(content["schema"] | components, example), (path, example)


def test_every_json_body_has_an_example(document: dict[str, Any]) -> None:
    """The docs page fills in the example of a JSON body; without one it would make up values that are refused."""
    for path, methods in document["paths"].items():
        for operation in methods.values():
            content = operation.get("requestBody", {}).get("content", {}).get("application/json")
            if content:
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                schema = document["components"]["schemas"].get(name, content["schema"])
                assert content.keys() & {"example", "examples"} or schema.get("examples"), path


def test_the_first_callers_get_the_document_although_they_ask_at_once(serve: Serve) -> None:
    """Callers whose requests make the service build the document at the same moment all get it."""
    for _ in range(3):
        get = serve().client.get
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(get, ["/openapi.json"] * 8))
        assert [answer.status_code for answer in answers] == [200] * 8
