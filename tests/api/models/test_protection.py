"""`/models/{name}/protection` over HTTP, through several services."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from app.store.locks.model_locks import ModelLocks
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

REASON = {"reason": "the archive is read with it"}


@pytest.fixture
def protected(service: RunningService, models: Path) -> RunningService:
    """A service with a model that a caller protects and one that the configuration protects."""
    for name in ("old_a.bin", "keep_b.bin"):
        (models / name).write_bytes(b"12345")
    eventually(lambda: service.client.get("/models").json()["count"] == 2)
    service.client.put("/models/old_a.bin/protection", json=REASON).raise_for_status()
    yield service
    service.client.delete("/models/old_a.bin/protection")


def test_a_protected_model_shows_its_protection_and_the_reason(protected: RunningService) -> None:
    """The list shows a protection at once; the detail has the caller's reason or the configured pattern."""
    listed = {model["name"]: model["protected"] for model in protected.client.get("/models").json()["models"]}
    detail = protected.client.get("/models/old_a.bin").json()

    assert listed == {"keep_b.bin": True, "old_a.bin": True}
    assert protected.client.get("/models?protected=false").json()["count"] == 0
    assert (detail["protected"], detail["protected_by"]["reason"]) == (True, REASON["reason"])
    assert (detail["protected_by"]["pattern"], detail["protected_by"]["by"]) == (None, "anonymous")
    assert datetime.now(UTC) - datetime.fromisoformat(detail["protected_by"]["since"]) < timedelta(minutes=1)
    assert protected.client.get("/models/keep_b.bin").json()["protected_by"]["pattern"] == "keep_*"


def test_a_protected_model_is_not_deleted_replaced_or_pruned(protected: RunningService, models: Path) -> None:
    """Deleting and replacing a protected model answer 403 with the reason, and a prune leaves it out."""
    refused = [
        protected.client.delete("/models/old_a.bin"),
        protected.client.delete("/models/old_a.bin?dry_run=true"),
        protected.client.put("/models/old_a.bin", content=b"other", headers={"if-match": "*"}),
    ]

    for answer in refused:
        assert problem_of(answer) == (403, "model-protected")
        assert (answer.json()["reason"], answer.json()["pattern"]) == (REASON["reason"], None)
    assert protected.client.post("/prune", json={}).json()["count"] == 0
    (old,) = [model for model in protected.client.get("/audit").json()["models"] if model["status"] == "old"]
    assert old["protected_by"]["reason"] == REASON["reason"]
    assert (
        "protected by anonymous: the archive" in protected.client.get("/audit", headers={"accept": "text/plain"}).text
    )
    assert (models / "old_a.bin").read_bytes() == b"12345"


def test_a_callers_protection_can_be_removed(protected: RunningService) -> None:
    """A protection can be removed twice; then the model can be deleted, and the journal has each change."""
    for _ in range(2):
        lifted = protected.client.delete("/models/old_a.bin/protection")
        assert (lifted.status_code, lifted.json()["protected"]) == (200, False)
    assert protected.client.get("/models/old_a.bin").json()["protected_by"] is None
    assert protected.client.get("/models?name=old_a.bin").json()["models"][0]["protected"] is False

    assert protected.client.delete("/models/old_a.bin").status_code == 200
    actions = [event["action"] for event in protected.client.get("/journal?limit=3").json()["events"]]
    assert actions == ["trashed", "unprotected", "protected"]


def test_a_configured_protection_cannot_be_removed(protected: RunningService) -> None:
    """Removing the protection of a model that `OCR_PROTECTED` protects answers 403 with the pattern."""
    protected.client.put("/models/keep_b.bin/protection", json=REASON).raise_for_status()

    refused = protected.client.delete("/models/keep_b.bin/protection")

    assert (refused.status_code, refused.json()["pattern"]) == (403, "keep_*")
    both = protected.client.get("/models/keep_b.bin").json()["protected_by"]
    assert (both["pattern"], both["reason"]) == ("keep_*", REASON["reason"])


def test_protecting_needs_an_existing_model_and_a_reason(protected: RunningService) -> None:
    """Protecting a missing model answers 404; a body without a valid reason or an invalid name answers 422."""
    for verb, body in (("PUT", REASON), ("DELETE", None)):
        missing = protected.client.request(verb, "/models/missing.bin/protection", json=body)
        assert problem_of(missing) == (404, "model-not-found")
    for wrong in ({}, {"reason": ""}, {"reason": " "}, {"reason": "x" * 501}, {"reason": 1}, {"why": "x"}):
        assert protected.client.put("/models/old_a.bin/protection", json=wrong).status_code == 422
    assert protected.client.put("/models/..%2Fx/protection", json=REASON).status_code == 422


def test_a_model_in_use_can_be_protected(protected: RunningService, models: Path) -> None:
    """A model with a lease can be protected."""
    with ModelLocks(models / ".store/locks/models").lease("old_a.bin"):
        given = protected.client.put("/models/old_a.bin/protection", json={"reason": "another"})
    assert given.json()["protected_by"]["reason"] == "another"


def test_a_protection_stays_when_the_file_is_removed(protected: RunningService, models: Path) -> None:
    """A protection belongs to the name: if the file is removed outside the service, the next file is protected."""
    (models / "old_a.bin").unlink()
    eventually(lambda: protected.client.get("/models").json()["count"] == 1)
    uploaded = protected.client.put("/models/old_a.bin", content=b"new")
    assert (uploaded.status_code, uploaded.json()["protected"]) == (201, True)
    assert protected.client.delete("/models/old_a.bin").status_code == 403

    (models / "old_a.bin").unlink()
    assert protected.client.delete("/models/old_a.bin/protection").status_code == 200


def test_a_model_named_protection_is_served_as_a_model(protected: RunningService, models: Path) -> None:
    """`/models/org/protection` means the model of that name if there is one, not the protection of `org`."""
    (models / "org").mkdir()
    (models / "org/protection").write_bytes(b"1")
    eventually(lambda: protected.client.get("/models").json()["count"] == 3)

    assert protected.client.get("/models/org/protection").json()["size_bytes"] == 1
    gone = protected.client.delete("/models/org/protection")
    assert (gone.status_code, gone.json()["name"]) == (200, "org/protection")


def test_a_method_that_a_part_lacks_answers_405(protected: RunningService) -> None:
    """At `/models/{name}/protection` and `/models/{name}/verify`, other methods answer 405 and never reach a model."""
    for part, methods in (("protection", "DELETE, PUT"), ("verify", "POST")):
        for method in {"GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"} - set(methods.split(", ")):
            refused = protected.client.request(method, f"/models/old_a.bin/{part}")
            assert (method, refused.status_code, refused.headers.get("allow")) == (method, 405, methods)


def test_services_see_each_others_protections(serve: Serve, replicas: list[RunningService]) -> None:
    """Another service obeys a protection at once and lists it soon; a restarted service keeps it."""
    one, other = replicas
    (one.models_dir / "a.bin").touch()
    for each in (one, other):
        eventually(lambda each=each: each.client.get("/models").json()["count"] == 1)

    def is_listed(service: RunningService) -> bool:
        return bool(service.client.get("/models").json()["models"][0]["protected"])

    for reason in ("first", "second"):
        one.client.put("/models/a.bin/protection", json={"reason": reason}).raise_for_status()
        assert other.client.delete("/models/a.bin").json()["reason"] == reason
        eventually(lambda: is_listed(other), within=10)
        other.client.delete("/models/a.bin/protection").raise_for_status()
        eventually(lambda: not is_listed(one), within=10)

    one.client.put("/models/a.bin/protection", json=REASON).raise_for_status()
    assert is_listed(serve(one.folder, engine_class=ECHO))
    one.client.delete("/models/a.bin/protection").raise_for_status()
