"""The filters and orders of `GET /models`, on real files."""

import os
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from app.api.models.schemas import ModelListOut
from app.store.locks.model_locks import ModelLocks
from tests.support.clients.answers import problem_of
from tests.support.service import RunningService
from tests.support.waiting import eventually

FILES = {"old_a.gguf": 10, "b.GGUF": 30, "keep_c.onnx": 20, "org/d.safetensors": 20, "org/old_e.bin": 0}


@pytest.fixture
def filled(service: RunningService, models: Path) -> RunningService:
    """A service with five models that differ in size, time, format, protection and age; the newest is the smallest."""
    (models / "org").mkdir()
    for number, (name, size) in enumerate(sorted(FILES.items(), key=lambda file: -file[1])):
        (models / name).write_bytes(b"x" * size)
        os.utime(models / name, (number, number))
    eventually(lambda: set(names(service)) == set(FILES) and None not in recognised(service))
    return service


def asked(service: RunningService, **params: object) -> dict[str, Any]:
    answer = service.client.get("/models", params=params).raise_for_status().json()  # type: ignore[arg-type]
    ModelListOut.model_validate(answer)
    assert answer["total_size_bytes"] == sum(model["size_bytes"] for model in answer["models"])
    assert answer["count"] == len(answer["models"])
    return dict(answer)


def names(service: RunningService, **params: object) -> list[str]:
    return [model["name"] for model in asked(service, **params)["models"]]


def recognised(service: RunningService) -> list[bool | None]:
    return [model["recognised"] for model in asked(service)["models"]]


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"status": "old"}, {"old_a.gguf", "org/old_e.bin"}),
        ({"status": "current"}, {"b.GGUF", "keep_c.onnx", "org/d.safetensors"}),
        ({"format": "gguf"}, {"old_a.gguf", "b.GGUF"}),
        ({"format": "onnx"}, {"keep_c.onnx"}),
        ({"format": "safetensors"}, {"org/d.safetensors"}),
        ({"format": "unknown"}, {"org/old_e.bin"}),
        ({"protected": "true"}, {"keep_c.onnx"}),
        ({"protected": "false"}, set(FILES) - {"keep_c.onnx"}),
        ({"in_use": "true"}, set()),
        ({"in_use": "false"}, set(FILES)),
        ({"recognised": "true"}, {"old_a.gguf"}),
        ({"recognised": "false"}, set(FILES) - {"old_a.gguf"}),
        ({"min_size": 0}, set(FILES)),
        ({"min_size": 20}, {"b.GGUF", "keep_c.onnx", "org/d.safetensors"}),
        ({"name": "old_*"}, {"old_a.gguf", "org/old_e.bin"}),
        ({"name": "org/*"}, {"org/d.safetensors", "org/old_e.bin"}),
        ({"name": "?.gguf"}, set()),
        ({"name": "[a-c].GGUF"}, {"b.GGUF"}),
        ({"status": "old", "format": "gguf"}, {"old_a.gguf"}),
        ({"status": "current", "min_size": 20, "protected": "false", "name": "*d*"}, {"org/d.safetensors"}),
        ({"status": "old", "protected": "true"}, set()),
    ],
    ids=lambda value: str(sorted(value) if isinstance(value, set) else value),  # the same in each process
)
def test_filters_select_the_models_that_match_all_of_them(
    filled: RunningService, params: dict[str, object], found: set[str]
) -> None:
    """A list has the models that match every filter; its count and total size are of these models."""
    assert names(filled, **params) == sorted(found)


def test_in_use_finds_a_model_while_a_process_leases_it(filled: RunningService, models: Path) -> None:
    """`in_use` finds a model as long as any process holds a lease on it."""
    with ModelLocks(models / ".store/locks/models").lease("b.GGUF"):
        eventually(lambda: names(filled, in_use="true") == ["b.GGUF"])
        assert "b.GGUF" not in names(filled, in_use="false")
    eventually(lambda: not names(filled, in_use="true"))


@pytest.mark.parametrize("field", ["name", "size_bytes", "modified_at"])
def test_each_sort_field_works_in_both_directions(filled: RunningService, field: str) -> None:
    """Models with equal keys are sorted by name, and descending order is ascending order reversed."""
    found = asked(filled, sort=field)["models"]

    keys = [(model[field], model["name"]) for model in found]
    assert all(one < next_one for one, next_one in pairwise(keys))
    assert [model["name"] for model in reversed(found)] == names(filled, sort=f"-{field}")


@pytest.mark.parametrize(
    ("query", "where"),
    [
        ("stauts=old", "stauts"),
        ("status=new", "status"),
        ("format=GGUF", "format"),
        ("protected=maybe", "protected"),
        ("protected=1", "protected"),
        ("in_use=", "in_use"),
        ("min_size=-1", "min_size"),
        ("min_size=1e3", "min_size"),
        ("name=", "name"),
        ("sort=etag", "sort"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
    ],
)
def test_an_unknown_or_invalid_query_parameter_answers_422(service: RunningService, query: str, where: str) -> None:
    """A misspelt or invalid parameter answers 422 and names the parameter."""
    refused = service.client.get(f"/models?{query}")

    assert problem_of(refused) == (422, "invalid-request")
    assert refused.json()["errors"][0]["where"] == ["query", where]
