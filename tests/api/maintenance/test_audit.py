"""`/audit`, `/prune` and `/storage` over HTTP."""

from pathlib import Path

import pytest

from app.store.locks.model_locks import ModelLocks
from tests.support.answers import problem_of
from tests.support.service import RunningService
from tests.support.waiting import eventually


@pytest.fixture
def upkeep(service: RunningService, models: Path) -> RunningService:
    """A folder with two old models, one of them protected, and a current one."""
    service.client.delete("/trash").raise_for_status()
    for name in ("en_v1.bin", "en_v2.bin", "old_de.bin", "keep_old_v1.bin", "keep_old_v2.bin"):
        (models / name).write_bytes(b"12345")
    eventually(lambda: service.client.get("/models").json()["count"] == 5)
    return service


def test_the_audit_says_why(upkeep: RunningService, models: Path) -> None:
    """As JSON each reason has its field, and what pruning would free is added up."""
    report = upkeep.client.get("/audit").json()

    assert (report["old_count"], report["current_count"], report["reclaimable"]["models_bytes"]) == (3, 2, 10)
    found = {model["name"]: model for model in report["models"]}
    assert found["old_de.bin"]["reasons"] == ["stale_pattern"]
    assert found["en_v1.bin"]["superseded_by"] == "en_v2.bin"
    assert found["keep_old_v1.bin"]["protected_by"]["pattern"] == "keep_*"
    assert found["en_v2.bin"]["path"] == str(models / "en_v2.bin")


def test_the_audit_reads_as_the_tutorials_print_it(upkeep: RunningService, models: Path) -> None:
    """A line a model, OLD or CURRENT and the path, aligned, with the reasons behind."""
    answer = upkeep.client.get("/audit", headers={"accept": "text/plain"})

    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.text.splitlines() == [
        f"OLD:     {models}/en_v1.bin  (superseded by en_v2.bin)",
        f"CURRENT: {models}/en_v2.bin",
        f"OLD:     {models}/keep_old_v1.bin  (superseded by keep_old_v2.bin; protected by keep_*)",
        f"CURRENT: {models}/keep_old_v2.bin  (protected by keep_*)",
        f"OLD:     {models}/old_de.bin  (matches old_*)",
    ]


def test_a_prune_is_a_dry_run_and_then_exactly_that(upkeep: RunningService, models: Path) -> None:
    """The plan names models and bytes; with its id the same request executes it, once."""
    plan = upkeep.client.post("/prune", json={}).raise_for_status().json()
    assert [model["name"] for model in plan["models"]] == ["en_v1.bin", "old_de.bin"]
    assert (plan["dry_run"], plan["count"], plan["total_size_bytes"]) == (True, 2, 10)
    assert (models / "old_de.bin").exists()

    done = upkeep.client.post("/prune", json={"dry_run": False, "plan_id": plan["plan_id"]})

    assert (done.status_code, done.json()["complete"]) == (200, True)
    assert {model["outcome"] for model in done.json()["models"]} == {"trashed"}
    assert [model["name"] for model in upkeep.client.get("/models").json()["models"]] == [
        "en_v2.bin",
        "keep_old_v1.bin",
        "keep_old_v2.bin",
    ]
    again = upkeep.client.post("/prune", json={"dry_run": False, "plan_id": plan["plan_id"]})
    assert problem_of(again) == (409, "plan-changed")
    assert upkeep.client.get("/trash").json()["count"] == 2


def test_only_the_reasons_that_are_asked_for(upkeep: RunningService) -> None:
    """A cautious caller prunes what the patterns name and nothing else."""
    plan = upkeep.client.post("/prune", json={"reasons": ["stale_pattern"]}).json()

    assert [model["name"] for model in plan["models"]] == ["old_de.bin"]


def test_a_changed_folder_is_another_plan(upkeep: RunningService, models: Path) -> None:
    """What was not shown is not deleted."""
    plan = upkeep.client.post("/prune", json={}).json()
    (models / "old_new.bin").touch()
    eventually(lambda: upkeep.client.get("/models").json()["count"] == 6)

    refused = upkeep.client.post("/prune", json={"dry_run": False, "plan_id": plan["plan_id"]})

    assert refused.status_code == 409
    assert (models / "old_de.bin").exists()


def test_a_partial_prune_is_no_plain_success(upkeep: RunningService, models: Path) -> None:
    """207, and the model that stayed says why."""
    plan = upkeep.client.post("/prune", json={"permanent": True}).json()
    with ModelLocks(models / ".store/locks/models").lease("old_de.bin"):
        done = upkeep.client.post("/prune", json={"dry_run": False, "plan_id": plan["plan_id"], "permanent": True})

    outcomes = {model["name"]: (model["outcome"], model["problem"]) for model in done.json()["models"]}
    assert (done.status_code, done.json()["complete"]) == (207, False)
    assert outcomes == {"en_v1.bin": ("deleted", None), "old_de.bin": ("stayed", "model-in-use")}
    assert (models / "old_de.bin").exists()


def test_nothing_is_executed_without_a_plan(upkeep: RunningService) -> None:
    """422 for an execution that names none, for a reason that is none, and for a word that is mistyped."""
    for body in ({"dry_run": False}, {"reasons": ["ugly"]}, {"dryrun": False}):
        assert upkeep.client.post("/prune", json=body).status_code == 422
    assert upkeep.client.get("/models").json()["count"] == 5


def test_a_body_that_is_no_text_is_an_invalid_request(upkeep: RunningService) -> None:
    """422 as for any other that is no JSON, and not a status that the document does not know."""
    for body in (b"V \xff", b"{"):
        refused = upkeep.client.post("/prune", content=body, headers={"content-type": "application/json"})
        assert problem_of(refused) == (422, "invalid-request")


def test_storage_adds_up(upkeep: RunningService) -> None:
    """Models, trash, free and all; the trash grows by what the models lose."""
    before = upkeep.client.get("/storage").json()
    upkeep.client.delete("/models/en_v1.bin").raise_for_status()
    after = upkeep.client.get("/storage").json()

    assert (before["models_bytes"], after["models_bytes"]) == (25, 20)
    assert after["trash_bytes"] > before["trash_bytes"]
    assert after["volume_id"] == before["volume_id"]
