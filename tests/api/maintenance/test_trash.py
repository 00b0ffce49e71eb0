"""`/trash`, `/journal`, and the parameters of `DELETE /models/{name}`, over HTTP."""

import json
import os
from pathlib import Path

import pytest

from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually


@pytest.fixture(autouse=True)
def empty_trash(service: RunningService) -> None:
    """Empty the trash before each test."""

    service.client.delete("/trash").raise_for_status()


def test_a_deleted_model_is_restored(service: RunningService, models: Path) -> None:
    """A deleted model is in the trash, can be restored and is listed at once; the journal has both changes."""
    (models / "a.bin").write_bytes(b"12345")
    receipt = service.client.delete("/models/a.bin", headers={"x-request-id": "r-1"}).json()

    trash = service.client.get("/trash").json()
    assert (trash["count"], trash["total_size_bytes"]) == (1, 5)
    assert trash["entries"][0]["id"] == receipt["trash_id"]
    assert trash["entries"][0]["expires_at"] == receipt["expires_at"]

    restored = service.client.post(f"/trash/{receipt['trash_id']}/restore").raise_for_status().json()

    assert (restored["name"], restored["size_bytes"]) == ("a.bin", 5)
    assert [model["name"] for model in service.client.get("/models").json()["models"]] == ["a.bin"]
    events = service.client.get("/journal", params={"limit": 2}).json()["events"]
    assert [(event["action"], event["actor"]) for event in events] == [
        ("restored", "anonymous"),
        ("trashed", "anonymous"),
    ]
    assert events[1]["request_id"] == "r-1"


def test_the_journal_shows_unknown_actions(service: RunningService, models: Path) -> None:
    """An action that this version does not know, written by a newer service on the folder, is shown unchanged."""
    (models / "a.bin").write_bytes(b"12345")
    service.client.delete("/models/a.bin").raise_for_status()
    journal = models / ".store/journal.jsonl"
    line = json.loads(journal.read_text().splitlines()[-1]) | {"action": "quarantined"}
    with journal.open("a") as writer:
        writer.write(json.dumps(line) + "\n")

    events = service.client.get("/journal", params={"limit": 2}).raise_for_status().json()["events"]

    assert [event["action"] for event in events] == ["quarantined", "trashed"]


def test_a_restore_overwrites_no_model_and_accepts_another_name(service: RunningService, models: Path) -> None:
    """Restoring to a taken name answers 409; `as` restores to another name."""
    (models / "a.bin").write_bytes(b"old")
    trash_id = service.client.delete("/models/a.bin").json()["trash_id"]
    (models / "a.bin").write_bytes(b"new")

    taken = service.client.post(f"/trash/{trash_id}/restore")
    outside = service.client.post(f"/trash/{trash_id}/restore", params={"as": "../b.bin"})
    restored = service.client.post(f"/trash/{trash_id}/restore", params={"as": "org/b.bin"})

    assert problem_of(taken) == (409, "model-exists")
    assert problem_of(outside) == (422, "invalid-model-name")
    assert restored.json()["name"] == "org/b.bin"
    assert (models / "a.bin").read_bytes() == b"new"


def test_purging_takes_one_entry_and_emptying_takes_all(service: RunningService, models: Path) -> None:
    """Purging deletes one entry, emptying deletes all; both return the bytes freed on disk, also of sparse files."""
    ids = []
    for name in ("a.bin", "b.bin", "c.bin"):
        (models / name).write_bytes(b"12345")
        os.truncate(models / name, 1 << 30)
        taken = (models / name).stat().st_blocks * 512
        ids.append(service.client.delete(f"/models/{name}").json()["trash_id"])

    purged = service.client.delete(f"/trash/{ids[0]}").json()
    again = service.client.delete(f"/trash/{ids[0]}")
    emptied = service.client.delete("/trash").json()

    assert (purged["count"], purged["entries"][0]["name"]) == (1, "a.bin")
    assert purged["freed_bytes"] == taken
    assert problem_of(again) == (404, "trash-entry-not-found")
    assert (emptied["count"], emptied["freed_bytes"]) == (2, 2 * taken)
    assert service.client.get("/trash").json()["entries"] == []


def test_if_match_deletes_only_that_version(service: RunningService, models: Path) -> None:
    """A deletion with `If-Match` answers 412 if the model is another version; several ETags and `*` are accepted."""
    (models / "a.bin").write_bytes(b"1")
    etag = service.client.get("/models/a.bin").json()["etag"]
    (models / "a.bin").write_bytes(b"12")

    stale = service.client.delete("/models/a.bin", headers={"if-match": etag})
    nonsense = service.client.delete("/models/a.bin", headers={"if-match": "nonsense"})
    assert problem_of(stale) == (412, "model-changed")
    assert nonsense.status_code == 412
    assert "keeps its quotes" in nonsense.json()["detail"]
    assert (models / "a.bin").exists()

    present = stale.json()["etag"]
    assert service.client.delete("/models/a.bin", headers={"if-match": f"{etag}, {present}"}).status_code == 200
    (models / "a.bin").write_bytes(b"123")
    assert service.client.delete("/models/a.bin", headers={"if-match": "*"}).status_code == 200


def test_a_dry_run_of_a_deletion_deletes_nothing(service: RunningService, models: Path) -> None:
    """A dry run returns what would be deleted, refuses what a deletion refuses, and deletes nothing."""
    (models / "a.bin").write_bytes(b"12345")
    (models / "keep_me.bin").touch()

    plan = service.client.delete("/models/a.bin", params={"dry_run": "true", "permanent": "true"}).json()

    assert (plan["dry_run"], plan["size_bytes"], plan["freed_bytes"], plan["trash_id"]) == (True, 5, 5, None)
    assert service.client.delete("/models/keep_me.bin", params={"dry_run": "true"}).status_code == 403
    assert service.client.delete("/models/b.bin", params={"dry_run": "true"}).status_code == 404
    assert (models / "a.bin").exists()
    assert service.client.delete("/models/a.bin", params={"dryrun": "true"}).status_code == 422
    assert (models / "a.bin").exists()


def test_a_permanent_deletion_leaves_no_trash_entry(service: RunningService, models: Path) -> None:
    """A permanent deletion frees the bytes at once and leaves no entry in the trash."""
    (models / "a.bin").write_bytes(b"x" * 10_000)

    receipt = service.client.delete("/models/a.bin", params={"permanent": "true"}).json()

    assert receipt["freed_bytes"] >= 10_000
    assert receipt["trash_id"] is None
    assert service.client.get("/trash").json()["count"] == 0


def test_an_expired_trash_entry_is_purged(serve: Serve) -> None:
    """An entry whose retention has passed is purged within seconds, and the journal names `service` as the actor."""
    service = serve(engine_class=ECHO, trash_retention="3s")
    (service.models_dir / "a.bin").touch()
    service.client.delete("/models/a.bin").raise_for_status()
    assert service.client.get("/trash").json()["count"] == 1

    eventually(lambda: service.client.get("/trash").json()["count"] == 0)
    eventually(lambda: service.client.get("/journal").json()["events"][0]["action"] == "purged")
    assert service.client.get("/journal").json()["events"][0]["actor"] == "service"
