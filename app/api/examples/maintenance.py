"""Examples of the trash, the journal, the audit, prunes and the storage."""

from typing import Any

from app.api.examples.ids import REQUEST_ID, TRASH_ID
from app.api.examples.models import FOLDER

TRASH_ENTRY: dict[str, Any] = {
    "id": TRASH_ID,
    "name": "old_en_ocr_v1.bin",
    "size_bytes": 24,
    "deleted_at": "2026-11-21T06:37:13.889978Z",
    "expires_at": "2026-11-22T06:37:13.889978Z",
}

EVENT: dict[str, Any] = {
    "at": "2026-11-21T06:37:13.892001Z",
    "actor": "nightly-cleanup",
    "action": "trashed",
    "name": "old_en_ocr_v1.bin",
    "trash_id": TRASH_ID,
    "size_bytes": 24,
    "request_id": REQUEST_ID,
    "address": "192.0.2.7",
    "reason": None,
}

FINDING: dict[str, Any] = {
    "name": "old_en_ocr_v1.bin",
    "path": f"{FOLDER}/old_en_ocr_v1.bin",
    "size_bytes": 24,
    "status": "old",
    "reasons": ["stale_pattern"],
    "hints": [],
    "needed": None,
    "stale_pattern": "old_*",
    "superseded_by": None,
    "corrupt": None,
    "remarks": ["not_recognised"],
    "looks_like": [],
    "misnamed": None,
    "protected_by": None,
    "blockers": [],
}

PARTIAL: dict[str, Any] = {
    "id": "7c0e1f4ab35d4c2fa8d0e6b94f1c3a52",
    "name": "org_repo/model.gguf",
    "size_bytes": 1073741824,
    "age_seconds": 61.803,
    "active": False,
    "expires_at": "2026-11-22T06:37:13.889978Z",
}

RECLAIMABLE: dict[str, Any] = {
    "models_bytes": 24,
    "corrupt_bytes": 0,
    "partials_bytes": 1073741824,
    "trash_bytes": 0,
}

PRUNED: dict[str, Any] = {
    "name": "old_en_ocr_v1.bin",
    "size_bytes": 24,
    "reasons": ["stale_pattern"],
    "hints": [],
    "outcome": "planned",
    "problem": None,
    "detail": None,
    "trash_id": None,
    "freed_bytes": 0,
}

PRUNE: dict[str, Any] = {
    "plan_id": "0c6f9f3d2b9f4f1e8a7d5c3b1a098765",
    "dry_run": True,
    "complete": True,
    "count": 1,
    "total_size_bytes": 24,
    "freed_bytes": 0,
    "models": [PRUNED],
}

DAMAGED: dict[str, Any] = {
    "kind": "trash",
    "path": f".store/trash/{TRASH_ID}.json",
    "reason": "expires_at: Input should have timezone info",
}

STORAGE: dict[str, Any] = {
    "volume_id": "8f14e45fceea167a5a36dedd4bea2543",
    "is_writable": True,
    "is_safe": True,
    "file_system": "ext4",
    "checks": [{"name": "locks", "ok": True, "required": True, "reason": None}],
    "models_bytes": 24,
    "trash_bytes": 202,
    "partial_bytes": 0,
    "free_bytes": 85899345920,
    "total_bytes": 270582939648,
    "damaged_records": [DAMAGED],
}

BY_SCHEMA: dict[str, dict[str, Any]] = {
    "TrashEntryOut": TRASH_ENTRY,
    "TrashListOut": {"count": 1, "total_size_bytes": 24, "entries": [TRASH_ENTRY], "warnings": []},
    "PurgeOut": {"count": 1, "freed_bytes": 24, "entries": [TRASH_ENTRY]},
    "DamagedRecordOut": DAMAGED,
    "JournalEntryOut": EVENT,
    "JournalOut": {"events": [EVENT], "warnings": []},
    "FindingOut": FINDING,
    "PartialOut": PARTIAL,
    "ReclaimableOut": RECLAIMABLE,
    "AuditOut": {
        "old_count": 1,
        "current_count": 0,
        "corrupt_count": 0,
        "unread_count": 0,
        "reclaimable": RECLAIMABLE,
        "models": [FINDING],
        "partials": [PARTIAL],
        "warnings": [DAMAGED],
    },
    "PrunedOut": PRUNED,
    "PruneOut": PRUNE,
    "StorageOut": STORAGE,
}
