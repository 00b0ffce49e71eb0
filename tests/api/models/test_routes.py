"""`/models` over HTTP, on real files."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest

from app.api.models.schemas import ModelListOut
from app.store.locks.model_locks import ModelLocks
from tests.store.test_names import HOSTILE
from tests.support.clients.raw import raw_request
from tests.support.service import RunningService
from tests.support.waiting import eventually


def listed(service: RunningService) -> dict[str, dict[str, object]]:
    answer = service.client.get("/models").raise_for_status().json()
    assert answer["count"] == len(answer["models"])
    return {model["name"]: model for model in answer["models"]}


def test_the_list_has_the_fields_of_each_model_and_the_totals(service: RunningService, models: Path) -> None:
    """The list has each model with its fields, the count, the total size, and a warning for a symbolic link."""
    (models / "org_repo").mkdir()
    (models / "org_repo/keep_me.gguf").write_bytes(b"12345")
    (models / "old_a.bin").write_bytes(b"123")
    (models / "link").symlink_to("/etc/passwd")
    eventually(lambda: len(listed(service)) == 2)

    answer = service.client.get("/models").json()

    ModelListOut.model_validate(answer)
    assert (answer["count"], answer["total_size_bytes"]) == (2, 8)
    assert answer["warnings"] == [{"path": "link", "reason": "a symbolic link"}]
    old, kept = answer["models"]
    assert (old["name"], old["status"], old["protected"]) == ("old_a.bin", "old", False)
    assert (kept["name"], kept["status"], kept["protected"]) == ("org_repo/keep_me.gguf", "current", True)
    assert old["path"] == str(models / "old_a.bin")
    assert datetime.now(UTC) - datetime.fromisoformat(old["modified_at"]) < timedelta(minutes=1)
    assert old["modified_at"].endswith("Z")
    assert service.client.get("/models/old_a.bin").json()["etag"] == old["etag"]


def test_recognised_follows_the_list_of_the_engine(service: RunningService, models: Path) -> None:
    """`recognised` is true for a model that the engine lists, else false, soon after the folder changes."""
    (models / "known.gguf").touch()
    (models / "unknown.bin").touch()

    eventually(lambda: {name: model["recognised"] for name, model in listed(service).items()} == {
        "known.gguf": True, "unknown.bin": False,
    })  # fmt: skip


def test_deleting_a_leased_model_answers_409_with_its_blockers(service: RunningService, models: Path) -> None:
    """A leased model is listed as in use, and deleting it answers 409 with the holders of the leases."""
    (models / "a.bin").touch()
    with ModelLocks(models / ".store/locks/models").lease("a.bin"):
        eventually(lambda: listed(service).get("a.bin", {}).get("in_use"))

        refused = service.client.delete("/models/a.bin")

        assert (refused.status_code, [each["kind"] for each in refused.json()["blockers"]]) == (409, ["unknown"])
    assert (models / "a.bin").exists()


def test_get_models_path_returns_the_folder_or_one_model(service: RunningService, models: Path) -> None:
    """`GET /models/path` returns the absolute path of the folder that the engine uses, or of one model in it."""
    (models / "org_repo").mkdir()
    (models / "org_repo/b.gguf").touch()

    assert (
        service.client.get("/models/path").json() == {"path": str(models)} == {"path": service.engine()["local_path"]}
    )
    assert service.client.get("/models/path", params={"name": "org_repo/b.gguf"}).json() == {
        "path": str(models / "org_repo/b.gguf")
    }
    assert service.client.get("/models/path", params={"name": "missing"}).status_code == 404


def test_delete_returns_a_receipt_and_the_list_lacks_the_model(service: RunningService, models: Path) -> None:
    """A deletion returns name, size, trash entry and expiry; then the model is not listed and not found."""
    (models / "org_repo").mkdir()
    (models / "org_repo/b.gguf").write_bytes(b"12345")
    eventually(lambda: "org_repo/b.gguf" in listed(service))

    receipt = service.client.delete("/models/org_repo%2Fb.gguf").raise_for_status().json()

    assert "org_repo/b.gguf" not in listed(service)
    assert (receipt["name"], receipt["size_bytes"], receipt["dry_run"]) == ("org_repo/b.gguf", 5, False)
    assert (models / ".store/trash" / receipt["trash_id"]).read_bytes() == b"12345"
    expires_in = datetime.fromisoformat(receipt["expires_at"]) - datetime.now(UTC)
    assert timedelta(hours=23) < expires_in <= timedelta(hours=24)
    assert service.client.delete("/models/org_repo/b.gguf").json()["type"].endswith(":model-not-found")


def test_deleting_a_protected_model_answers_403_with_the_pattern(service: RunningService, models: Path) -> None:
    """Deleting a model that `OCR_PROTECTED` protects answers 403 with the pattern."""
    (models / "keep_me.bin").touch()

    refused = service.client.delete("/models/keep_me.bin")

    assert (refused.status_code, refused.json()["pattern"]) == (403, "keep_*")
    assert (models / "keep_me.bin").exists()


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("name", [name for name in HOSTILE if name.isprintable() or name.isascii()], ids=repr)
def test_hostile_names_answer_404_or_422_in_every_encoding(
    service: RunningService, models: Path, method: str, name: str
) -> None:
    """Names that lead out of the folder answer 404 or 422, raw and percent-encoded, and no file is touched."""
    canary = models.parent / "passwd"
    canary.write_text("secret")
    (models / "x").touch()
    forms = {quote(name), quote(name, safe=""), quote(quote(name, safe=""), safe=""), name.replace("..", "%2e%2E")}

    for form in forms:
        target = f"/models/{form}"
        if not (target.isascii() and target.isprintable() and " " not in target):
            continue
        status, answer = raw_request(service, method, target)
        assert status in {404, 422}, (target, answer)
        assert b"application/problem+json" in answer

    assert canary.read_text() == "secret"
    assert (models / "x").exists()


def test_two_hundred_parallel_deletions_all_succeed(service: RunningService, models: Path) -> None:
    """200 deletions by 32 threads each return a receipt, and each model is in the trash."""
    names = [f"model-{number}.bin" for number in range(200)]
    for name in names:
        (models / name).write_bytes(name.encode())

    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(lambda name: service.client.delete(f"/models/{name}"), names))
    receipts = [answer.raise_for_status().json() for answer in answers]

    assert sorted(receipt["name"] for receipt in receipts) == sorted(names)
    for receipt in receipts:
        assert (models / ".store/trash" / receipt["trash_id"]).read_text() == receipt["name"]
    assert listed(service) == {}
