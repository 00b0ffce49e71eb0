"""`/audit`, `/prune` and `/storage` over HTTP."""

from pathlib import Path
from typing import Any

import pytest

from app.store.locks.model_locks import ModelLocks
from tests.support.clients.answers import problem_of
from tests.support.service import RunningService
from tests.support.waiting import eventually


@pytest.fixture
def upkeep(service: RunningService, models: Path) -> RunningService:
    """A service with an old model and two pairs of versions, one of them protected."""
    service.client.delete("/trash").raise_for_status()
    for name in ("en_v1.bin", "en_v2.bin", "old_de.bin", "keep_old_v1.bin", "keep_old_v2.bin"):
        (models / name).write_bytes(b"12345")
    eventually(lambda: service.client.get("/models").json()["count"] == 5)
    return service


def test_the_audit_has_the_reasons_for_each_model(upkeep: RunningService, models: Path) -> None:
    """The JSON report has the reasons for each model and the bytes that a prune would free."""
    report = upkeep.client.get("/audit").json()

    assert (report["old_count"], report["current_count"], report["reclaimable"]["models_bytes"]) == (1, 4, 5)
    found = {model["name"]: model for model in report["models"]}
    assert found["old_de.bin"]["reasons"] == ["stale_pattern"]
    assert found["en_v1.bin"]["superseded_by"] == "en_v2.bin"
    assert (found["en_v1.bin"]["reasons"], found["en_v1.bin"]["hints"]) == ([], ["superseded"])
    assert found["en_v1.bin"]["needed"] is None
    assert found["keep_old_v1.bin"]["protected_by"]["pattern"] == "keep_*"
    assert found["en_v2.bin"]["path"] == str(models / "en_v2.bin")


def test_the_text_audit_has_one_line_for_each_model(upkeep: RunningService, models: Path) -> None:
    """The text report has a line for each model: OLD or CURRENT, the path, and the reasons."""
    answer = upkeep.client.get("/audit", headers={"accept": "text/plain"})

    assert answer.headers["content-type"].startswith("text/plain")
    higher = "a higher number; both may be used"
    assert answer.text.splitlines() == [
        f"CURRENT: {models}/en_v1.bin  (hint: en_v2.bin has {higher})",
        f"CURRENT: {models}/en_v2.bin",
        f"CURRENT: {models}/keep_old_v1.bin  (hint: keep_old_v2.bin has {higher}; protected by keep_*)",
        f"CURRENT: {models}/keep_old_v2.bin  (protected by keep_*)",
        f"OLD:     {models}/old_de.bin  (matches old_*)",
    ]


def test_a_prune_executes_the_plan_of_its_dry_run_once(upkeep: RunningService, models: Path) -> None:
    """A dry run returns a plan; a request with its id deletes exactly these models, and a second one answers 409."""
    plan = upkeep.client.post("/prune", json={"include": ["superseded"]}).raise_for_status().json()
    assert [model["name"] for model in plan["models"]] == ["en_v1.bin", "old_de.bin"]
    assert (plan["dry_run"], plan["count"], plan["total_size_bytes"]) == (True, 2, 10)
    assert (models / "old_de.bin").exists()

    body = {"dry_run": False, "plan_id": plan["plan_id"], "include": ["superseded"]}
    done = upkeep.client.post("/prune", json=body)

    assert (done.status_code, done.json()["complete"]) == (200, True)
    assert {model["outcome"] for model in done.json()["models"]} == {"trashed"}
    assert [model["name"] for model in upkeep.client.get("/models").json()["models"]] == [
        "en_v2.bin",
        "keep_old_v1.bin",
        "keep_old_v2.bin",
    ]
    again = upkeep.client.post("/prune", json=body)
    assert problem_of(again) == (409, "plan-changed")
    assert upkeep.client.get("/trash").json()["count"] == 2


def test_a_higher_number_alone_is_pruned_only_on_request(upkeep: RunningService) -> None:
    """A prune plans a model with a hint only if the request includes the hint; the plan says which hint it was."""

    def planned(body: dict[str, Any]) -> dict[str, list[str]]:
        models = upkeep.client.post("/prune", json=body).raise_for_status().json()["models"]
        return {model["name"]: model["reasons"] + model["hints"] for model in models}

    assert planned({}) == planned({"reasons": ["stale_pattern"]}) == {"old_de.bin": ["stale_pattern"]}
    assert planned({"reasons": ["superseded"]}) == {}
    assert planned({"reasons": [], "include": ["superseded"]}) == {"en_v1.bin": ["superseded"]}


def test_the_ocr_models_that_the_vendor_needs_are_current(upkeep: RunningService, models: Path) -> None:
    """Russian needs the first version and `european` the second: neither is old. Hindi needs only the second."""
    for name in ("cyrillic-v1", "cyrillic-v2", "hindi-v1", "hindi-v2"):
        (models / f"aspose-ocr-{name}.ocr").write_bytes(b"12345")
    eventually(lambda: upkeep.client.get("/models").json()["count"] == 9)

    found = {each["name"]: each for each in findings(upkeep) if each["name"].endswith(".ocr")}
    assert {name: (each["status"], each["needed"]) for name, each in found.items()} == {
        "aspose-ocr-cyrillic-v1.ocr": ("current", True),
        "aspose-ocr-cyrillic-v2.ocr": ("current", True),
        "aspose-ocr-hindi-v1.ocr": ("old", False),
        "aspose-ocr-hindi-v2.ocr": ("current", True),
    }
    assert found["aspose-ocr-hindi-v1.ocr"]["superseded_by"] == "aspose-ocr-hindi-v2.ocr"
    plan = upkeep.client.post("/prune", json={"include": ["superseded"]}).json()
    assert [model["name"] for model in plan["models"]] == ["aspose-ocr-hindi-v1.ocr", "en_v1.bin", "old_de.bin"]
    text = upkeep.client.get("/audit", headers={"accept": "text/plain"}).text
    assert "cyrillic-v1.ocr  (needed: the vendor's package asks for it)" in text
    assert (
        "hindi-v1.ocr  (superseded: the vendor's package asks for aspose-ocr-hindi-v2.ocr and no longer for this one)"
        in text
    )


def test_a_plan_is_refused_after_the_folder_changed(upkeep: RunningService, models: Path) -> None:
    """If a model was added after the dry run, executing the plan answers 409 and deletes nothing."""
    plan = upkeep.client.post("/prune", json={}).json()
    (models / "old_new.bin").touch()
    eventually(lambda: upkeep.client.get("/models").json()["count"] == 6)

    refused = upkeep.client.post("/prune", json={"dry_run": False, "plan_id": plan["plan_id"]})

    assert refused.status_code == 409
    assert (models / "old_de.bin").exists()


def test_a_prune_that_leaves_a_model_answers_207(upkeep: RunningService, models: Path) -> None:
    """If a model is in use, the others are deleted, the answer is 207, and the model has the reason."""
    body = {"permanent": True, "include": ["superseded"]}
    plan = upkeep.client.post("/prune", json=body).json()
    with ModelLocks(models / ".store/locks/models").lease("old_de.bin"):
        done = upkeep.client.post("/prune", json=body | {"dry_run": False, "plan_id": plan["plan_id"]})

    outcomes = {model["name"]: (model["outcome"], model["problem"]) for model in done.json()["models"]}
    assert (done.status_code, done.json()["complete"]) == (207, False)
    assert outcomes == {"en_v1.bin": ("deleted", None), "old_de.bin": ("stayed", "model-in-use")}
    assert (models / "old_de.bin").exists()


def test_an_invalid_prune_request_answers_422(upkeep: RunningService) -> None:
    """A prune without a plan, with an unknown reason or an unknown field answers 422 and deletes nothing."""
    for body in ({"dry_run": False}, {"reasons": ["ugly"]}, {"include": ["ugly"]}, {"dryrun": False}):
        assert upkeep.client.post("/prune", json=body).status_code == 422
    assert upkeep.client.get("/models").json()["count"] == 5


def test_a_body_that_is_not_json_answers_422(upkeep: RunningService) -> None:
    """A body that is not UTF-8 or not JSON answers 422, which the OpenAPI document lists, and not 400."""
    for body in (b"V \xff", b"{"):
        refused = upkeep.client.post("/prune", content=body, headers={"content-type": "application/json"})
        assert problem_of(refused) == (422, "invalid-request")


def test_deleting_a_model_moves_its_bytes_to_the_trash_in_storage(upkeep: RunningService) -> None:
    """After a deletion, `/storage` has fewer bytes of models, more bytes of trash, and an unchanged volume id."""
    before = upkeep.client.get("/storage").json()
    upkeep.client.delete("/models/en_v1.bin").raise_for_status()
    after = upkeep.client.get("/storage").json()

    assert (before["models_bytes"], after["models_bytes"]) == (25, 20)
    assert after["trash_bytes"] > before["trash_bytes"]
    assert after["volume_id"] == before["volume_id"]


def test_names_that_look_the_same_are_told(upkeep: RunningService) -> None:
    """Names that differ only in the form of a letter or in invisible characters are remarked, in JSON and as text."""
    composed, decomposed, invisible = "caf\u00e9.bin", "cafe\u0301.bin", "caf\u00e9\u200b.bin"
    for name in (composed, decomposed, invisible, "cafe.bin", "caf\u00e8.bin"):
        upkeep.client.put(f"/models/{name}", content=b"x").raise_for_status()

    found = {model["name"]: model for model in upkeep.client.get("/audit").json()["models"]}
    assert found[composed]["looks_like"] == [decomposed, invisible]
    assert found[decomposed]["looks_like"] == [composed, invisible]
    assert "looks_like_another" in found[invisible]["remarks"]
    assert found["cafe.bin"]["looks_like"] == found["caf\u00e8.bin"]["looks_like"] == []
    text = upkeep.client.get("/audit", headers={"accept": "text/plain"}).text
    assert "(looks like 'caf\\xe9.bin'; looks like 'caf\\xe9\\u200b.bin')" in text


@pytest.mark.parametrize("suffix", ["gguf", "safetensors", "ONNX"])
def test_a_file_that_is_not_what_its_suffix_says_is_told(upkeep: RunningService, suffix: str) -> None:
    """A web page with a model's suffix is told in the answer to its upload, and in the audit as JSON and as text."""
    page = b"<!DOCTYPE html><html><body>Sign in to download this model</body></html>"
    about = f"its name ends in .{suffix.lower()}, and its content is something else"

    uploaded = upkeep.client.put(f"/models/page.{suffix}", content=page).raise_for_status().json()
    upkeep.client.put("/models/page.bin", content=page).raise_for_status()
    assert uploaded["header"]["problem"] == about

    eventually(lambda: {"page.bin", f"page.{suffix}"} <= {each["name"] for each in findings(upkeep)})
    found = {each["name"]: each for each in findings(upkeep)}
    assert found[f"page.{suffix}"]["misnamed"] == about
    assert "misnamed" in found[f"page.{suffix}"]["remarks"]
    assert found[f"page.{suffix}"]["reasons"] == []
    assert (found["page.bin"]["misnamed"], "misnamed" in found["page.bin"]["remarks"]) == (None, False)
    assert f"({about})" in upkeep.client.get("/audit", headers={"accept": "text/plain"}).text


def findings(service: RunningService) -> list[dict[str, Any]]:
    models: list[dict[str, Any]] = service.client.get("/audit").json()["models"]
    return models
