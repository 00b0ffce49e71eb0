"""The OpenAPI document, as the service and `python -m app openapi` make it."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from app.api.jobs.schemas import JobOut
from app.main import create_app
from app.settings import Settings
from tests.conftest import Serve


def answers_of(document: dict[str, Any], path: str, method: str) -> dict[str, Any]:
    """Return the answers of an operation by status."""
    return dict(document["paths"][path][method]["responses"])


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_app(Settings()).openapi()


@pytest.mark.parametrize(
    ("path", "method", "status", "kind"),
    [
        ("/ocr", "post", "202", "images"),
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
    example = answers_of(document, path, method)[status]["content"]["application/json"]["example"]
    assert JobOut.model_validate(example).kind == kind


def test_the_document_depends_on_whether_keys_are_set(document: dict[str, Any], tmp_path: Path) -> None:
    """Only the document of a service with keys has 401 and 403 `missing-scope`, and requires a key."""
    with_keys = create_app(Settings(api_keys_file=tmp_path / "keys.toml")).openapi()
    assert "401" in answers_of(with_keys, "/models", "get")
    assert "401" not in answers_of(document, "/models", "get")
    assert {} in document["paths"]["/models"]["get"]["security"]
    assert {} not in with_keys["paths"]["/models"]["get"]["security"]


def test_every_operation_has_the_statuses_that_any_request_can_get(document: dict[str, Any]) -> None:
    """What refuses a request before its route is in the answers of each operation, as the docs page promises."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            expected = {"400", "408", "431"} | (set() if method in {"get", "head", "options"} else {"417"})
            assert expected <= operation["responses"].keys(), (method, path)


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


def test_the_first_callers_get_the_document_although_they_ask_at_once(serve: Serve) -> None:
    """Callers whose requests make the service build the document at the same moment all get it."""
    for _ in range(3):
        get = serve().client.get
        with ThreadPoolExecutor(8) as callers:
            answers = list(callers.map(get, ["/openapi.json"] * 8))
        assert [answer.status_code for answer in answers] == [200] * 8
