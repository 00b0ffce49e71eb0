"""Examples of models, deletions and verifications."""

from typing import Any

from app.api.examples.ids import TRASH_ID

FOLDER = "/srv/ocr/data/models"

CURRENT_MODEL: dict[str, Any] = {
    "name": "en_ocr_v2.bin",
    "path": f"{FOLDER}/en_ocr_v2.bin",
    "format": "unknown",
    "size_bytes": 24,
    "modified_at": "2026-11-21T06:37:11.339795Z",
    "status": "current",
    "protected": False,
    "in_use": False,
    "recognised": False,
    "etag": '"18-18e9fc0680810521"',
}

OLD_MODEL: dict[str, Any] = CURRENT_MODEL | {
    "name": "old_en_ocr_v1.bin",
    "path": f"{FOLDER}/old_en_ocr_v1.bin",
    "status": "old",
    "etag": '"18-18e9fc0680810521"',
}

BLOCKER: dict[str, Any] = {
    "kind": "command",
    "holder": "nightly-batch --all",
    "pid": 5120,
    "host": "worker-3",
    "since": "2026-11-21T06:37:12.079513Z",
}

PROTECTION: dict[str, Any] = {
    "pattern": None,
    "reason": "the archive is read with it until March",
    "by": "archivist",
    "since": "2026-11-21T06:37:12.079513Z",
}

HEADER: dict[str, Any] = {"format": "unknown", "problem": None, "facts": {}}

MODEL_DETAIL: dict[str, Any] = CURRENT_MODEL | {
    "header": HEADER,
    "sha256": "3db8754815d1394ccb5f0012336aaa36b0711bff80ac5470836a0cf1b581cbf9",
    "corrupt_since": None,
    "blockers": [],
    "protected_by": None,
    "needed_for": None,
    "remark": None,
}

MODEL_LIST: dict[str, Any] = {
    "count": 2,
    "total_size_bytes": 48,
    "models": [CURRENT_MODEL, OLD_MODEL],
    "next_cursor": None,
    "warnings": [{"path": "latest.bin", "reason": "a symbolic link"}],
}

PATH: dict[str, Any] = {"path": FOLDER}

RECEIPT: dict[str, Any] = {
    "name": "old_en_ocr_v1.bin",
    "size_bytes": 24,
    "freed_bytes": 0,
    "trash_id": TRASH_ID,
    "expires_at": "2026-11-22T06:37:13.889978Z",
    "dry_run": False,
}

VERIFICATION: dict[str, Any] = {
    "name": "en_ocr_v2.bin",
    "outcome": "intact",
    "reason": None,
    "sha256": "3db8754815d1394ccb5f0012336aaa36b0711bff80ac5470836a0cf1b581cbf9",
    "recorded_sha256": "3db8754815d1394ccb5f0012336aaa36b0711bff80ac5470836a0cf1b581cbf9",
    "recorded": True,
    "size_bytes": 24,
    "header": HEADER,
    "seconds": 0.000412,
    "bytes_per_second": 58252,
}

BY_SCHEMA: dict[str, dict[str, Any]] = {
    "ModelOut": CURRENT_MODEL,
    "BlockerOut": BLOCKER,
    "ProtectionOut": PROTECTION,
    "ProtectionStateOut": {"name": "en_ocr_v2.bin", "protected": True, "protected_by": PROTECTION},
    "ModelHeaderOut": HEADER,
    "ModelDetailOut": MODEL_DETAIL,
    "ModelListOut": MODEL_LIST,
    "PathOut": PATH,
    "ReceiptOut": RECEIPT,
    "VerificationOut": VERIFICATION,
}
