"""`POST /models/{name}/verify`, and what the audit reports afterwards."""

import hashlib
import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from app.store.locks.model_locks import ModelLocks
from tests.store.integrity.test_verification import corrupt_on_disk
from tests.support.service import RunningService
from tests.support.waiting import eventually

CUT_OFF = b"GGUF\x03\x00\x00\x00"


def test_a_changed_byte_is_found_corrupt_audited_and_prunable(service: RunningService, models: Path) -> None:
    """An uploaded model is intact; after a byte changes it is corrupt, in its detail and the audit, and prunable."""
    service.client.put("/models/a.bin", content=b"as it came").raise_for_status()
    intact = service.client.post("/models/a.bin/verify").json()
    corrupt_on_disk(models / "a.bin")

    corrupt = service.client.post("/models/a.bin/verify").json()

    assert (intact["outcome"], intact["sha256"]) == ("intact", hashlib.sha256(b"as it came").hexdigest())
    assert (intact["size_bytes"], intact["recorded"], intact["header"]["format"]) == (10, True, "unknown")
    assert (corrupt["outcome"], corrupt["recorded_sha256"]) == ("corrupt", intact["sha256"])
    assert service.client.get("/models/a.bin").json()["corrupt_since"]
    report = service.client.get("/audit").json()
    (finding,) = report["models"]
    assert (finding["status"], finding["reasons"], report["corrupt_count"]) == ("current", ["corrupt"], 1)
    assert report["reclaimable"] | {"trash_bytes": 0} == {
        "models_bytes": 0, "corrupt_bytes": 10, "partials_bytes": 0, "trash_bytes": 0,
    }  # fmt: skip
    assert "CURRENT: " in (text := service.client.get("/audit", headers={"accept": "text/plain"}).text)
    assert "(corrupt: its bytes are not those on record, as was seen at " in text
    assert service.client.post("/prune", json={}).json()["count"] == 0
    plan = service.client.post("/prune", json={"reasons": ["corrupt"]}).json()
    body = {"reasons": ["corrupt"], "dry_run": False, "plan_id": plan["plan_id"]}
    assert service.client.post("/prune", json=body).json()["models"][0]["outcome"] == "trashed"
    assert not (models / "a.bin").exists()


def test_verifying_a_missing_model_answers_404(service: RunningService, models: Path) -> None:
    """Verifying a missing model answers 404, and an invalid name 422."""
    assert service.client.post("/models/missing.bin/verify").status_code == 404
    assert service.client.post("/models/.hidden/verify").status_code == 422


def test_a_disconnect_stops_a_verification(service: RunningService, models: Path) -> None:
    """If the caller disconnects, the verification ends and its lease is released long before the file is read."""
    with (models / "huge.bin").open("wb") as file:
        os.truncate(file.fileno(), 1 << 40)
    eventually(lambda: service.client.get("/models").json()["count"] == 1)
    address = urlsplit(service.url)
    request = f"POST /models/huge.bin/verify HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 0\r\n\r\n"
    with socket.create_connection((address.hostname, address.port), timeout=60) as connection:
        connection.sendall(request.encode())
        blockers = eventually(lambda: service.client.get("/models/huge.bin").json()["blockers"])
        assert [(each["kind"], each["holder"]) for each in blockers] == [("verify", "anonymous")]

    eventually(lambda: not service.client.get("/models/huge.bin").json()["blockers"])
    assert service.client.delete("/models/huge.bin?permanent=true").status_code == 200


def test_the_audit_has_leases_damage_and_unrecognised_models(service: RunningService, models: Path) -> None:
    """The audit names the holder of a lease, has a remark on an unlisted model, and the damage of a cut file."""
    (models / "old_a.bin").write_bytes(b"12345")
    (models / "cut.gguf").write_bytes(CUT_OFF)
    eventually(lambda: service.client.get("/models?recognised=false").json()["count"] == 1)

    with ModelLocks(models / ".store/locks/models").lease("old_a.bin", kind="command", holder="nightly"):
        report = service.client.get("/audit").json()
        text = service.client.get("/audit", headers={"accept": "text/plain"}).text

    cut, old = report["models"]
    assert (old["blockers"][0]["kind"], report["reclaimable"]["models_bytes"]) == ("command", 0)
    assert f"in use by command, nightly, pid {os.getpid()} on " in text
    assert (cut["status"], cut["reasons"], cut["remarks"]) == ("current", ["corrupt"], [])
    assert (old["status"], old["reasons"], old["remarks"]) == ("old", ["stale_pattern"], ["not_recognised"])
    assert "ends inside its header" in cut["corrupt"]
    assert service.client.get("/audit").json()["reclaimable"]["models_bytes"] == 5


def test_the_audit_lists_unfinished_uploads(service: RunningService, models: Path) -> None:
    """The audit lists an unfinished upload with its name, size, and whether it is active."""
    began = service.client.post(
        "/uploads",
        headers={"tus-resumable": "1.0.0", "upload-length": "100", "upload-metadata": "filename YS5iaW4="},
    )
    assert began.status_code == 201, began.text
    url = began.headers["location"]
    service.client.patch(
        url,
        headers={"tus-resumable": "1.0.0", "upload-offset": "0", "content-type": "application/offset+octet-stream"},
        content=b"12345",
    ).raise_for_status()

    report = service.client.get("/audit").json()

    (partial,) = report["partials"]
    assert (partial["name"], partial["size_bytes"], partial["active"]) == ("a.bin", 5, False)
    assert report["reclaimable"]["partials_bytes"] == 5
    assert (
        f"PARTIAL: {partial['id']}  (for a.bin; 5 bytes; "
        in service.client.get("/audit", headers={"accept": "text/plain"}).text
    )
    service.client.delete(url, headers={"tus-resumable": "1.0.0"}).raise_for_status()
    assert service.client.get("/audit").json()["partials"] == []
