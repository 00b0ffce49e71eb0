"""The answers that the docs page shows: true ones, of the service that `make serve` starts."""

from typing import Any

from app.api import job_examples

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
    "etag": '"210026-18-18e9fc0680810521"',
}

OLD_MODEL: dict[str, Any] = CURRENT_MODEL | {
    "name": "old_en_ocr_v1.bin",
    "path": f"{FOLDER}/old_en_ocr_v1.bin",
    "status": "old",
    "etag": '"210027-18-18e9fc0680810521"',
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
    "trash_id": "20261121T063713Z-3a56954a93f8",
    "expires_at": "2026-11-22T06:37:13.889978Z",
    "dry_run": False,
}

TRASH_ENTRY: dict[str, Any] = {
    "id": "20261121T063713Z-3a56954a93f8",
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
    "trash_id": "20261121T063713Z-3a56954a93f8",
    "size_bytes": 24,
    "request_id": "0f8fad5bd9cb469fa16570867728950e",
}

FINDING: dict[str, Any] = {
    "name": "old_en_ocr_v1.bin",
    "path": f"{FOLDER}/old_en_ocr_v1.bin",
    "size_bytes": 24,
    "status": "old",
    "reasons": ["stale_pattern"],
    "stale_pattern": "old_*",
    "superseded_by": None,
    "corrupt": None,
    "remarks": ["not_recognised"],
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

PRUNED: dict[str, Any] = {
    "name": "old_en_ocr_v1.bin",
    "size_bytes": 24,
    "reasons": ["stale_pattern"],
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

STORAGE: dict[str, Any] = {
    "volume_id": "8f14e45fceea167a5a36dedd4bea2543",
    "is_writable": True,
    "models_bytes": 24,
    "trash_bytes": 202,
    "partial_bytes": 0,
    "free_bytes": 85899345920,
    "total_bytes": 270582939648,
}

UPLOAD: dict[str, Any] = {
    "id": "0f8fad5bd9cb469fa16570867728950e",
    "name": "en_ocr_v2.bin",
    "offset": 12,
    "size_bytes": 24,
    "published": False,
    "active": False,
    "created_by": "anonymous",
    "created_at": "2026-11-21T06:37:11.339795Z",
    "expires_at": "2026-11-22T06:37:11.339795Z",
}

ENGINE: dict[str, Any] = {
    "state": "ready",
    "reason": None,
    "pid": 4975,
    "started_at": "2026-11-21T06:37:12.079513Z",
    "uptime_seconds": 61.803,
    "restarts": 1,
    "last_exit": {
        "at": "2026-11-21T06:37:12.071204Z",
        "pid": 4967,
        "reason": "released (exit status 0)",
        "output": [],
    },
    "busy": False,
    "waiting": 0,
    "memory": {"resident_bytes": 56987648, "private_bytes": 34963456},
    "loading": None,
    "loaded": None,
    "vendor": {"package": "aspose-ocr-python-net", "version": "26.10.0"},
    "license": {"mode": "evaluation", "error": None},
    "local_path": FOLDER,
    "list_local": [],
    "is_initialized": False,
    "asked_at": "2026-11-21T06:37:12.301877Z",
    "capabilities": [
        {"name": "models", "available": True, "reason": None},
        {
            "name": "ai",
            "available": False,
            "reason": "the native llama.cpp libraries, which AsposeAI's package lacks, are not installed (libllama.so: "
            "cannot open shared object file: No such file or directory): run `python -m app provision`, then restart "
            "the engine with POST /engine/release",
        },
        {"name": "recognition", "available": True, "reason": None},
    ],
}

RELEASE: dict[str, Any] = {
    "pid": 4967,
    "exit_reason": "released (exit status 0)",
    "resident_bytes_before": 56987648,
    "private_bytes_before": 34963456,
    "mapped_bytes_before": 0,
    "tree_bytes_after": 62973952,
    "returned_bytes": 34963456,
    "seconds": 0.041,
}

LOADED: dict[str, Any] = {
    "processor": "spell-check",
    "model": "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf",
    "since": "2026-11-21T06:38:02.772825Z",
    "mapped_bytes": 2019377696,
}

LOADING: dict[str, Any] = {
    "processor": "spell-check",
    "model": "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf",
    "model_bytes": 2019377696,
}

CHANGES: list[dict[str, Any]] = [
    {"op": "equal", "before": "The ", "after": "The "},
    {"op": "replace", "before": "quik", "after": "quick"},
    {"op": "equal", "before": " brown fox", "after": " brown fox"},
]

RESULT: dict[str, Any] = {"text": "The quick brown fox", "diff": CHANGES, "error": None}

BOX: dict[str, Any] = {"x": 33, "y": 54, "width": 795, "height": 29}
LINE: dict[str, Any] = {"text": "The quick brown fox jumps over the lazy dog number 10", "box": BOX}
PAGE: dict[str, Any] = {
    "number": 1,
    "width": 870,
    "height": 432,
    "text": "The quick brown fox jumps over the lazy dog number 10",
    "corrected": None,
    "skew_degrees": None,
    "truncated_by_evaluation": True,
    "lines": [LINE],
}
READING_SETTINGS: dict[str, Any] = {"language": "latin", "areas": "universal", "auto_skew": False, "upscale": False}
RECOGNITION: dict[str, Any] = {
    "text": "The quick brown fox jumps over the lazy dog number 10",
    "truncated_by_evaluation": True,
    "pages": [PAGE],
    "settings": READING_SETTINGS,
    "engine_seconds": 1.483,
}

BY_SCHEMA: dict[str, dict[str, Any]] = {
    "ModelOut": CURRENT_MODEL,
    "BlockerOut": BLOCKER,
    "ProtectionOut": PROTECTION,
    "ProtectionState": {"name": "en_ocr_v2.bin", "protected": True, "protected_by": PROTECTION},
    "HeaderOut": HEADER,
    "ModelDetail": MODEL_DETAIL,
    "ModelList": MODEL_LIST,
    "PathOut": PATH,
    "ReceiptOut": RECEIPT,
    "TrashEntryOut": TRASH_ENTRY,
    "TrashList": {"count": 1, "total_size_bytes": 24, "entries": [TRASH_ENTRY]},
    "PurgeOut": {"count": 1, "freed_bytes": 24, "entries": [TRASH_ENTRY]},
    "EventOut": EVENT,
    "JournalOut": {"events": [EVENT]},
    "FindingOut": FINDING,
    "PartialOut": PARTIAL,
    "ReclaimableOut": RECLAIMABLE,
    "VerificationOut": VERIFICATION,
    "AuditOut": {
        "old_count": 1,
        "current_count": 0,
        "corrupt_count": 0,
        "unread_count": 0,
        "reclaimable": RECLAIMABLE,
        "models": [FINDING],
        "partials": [PARTIAL],
    },
    "PrunedOut": PRUNED,
    "PruneOut": PRUNE,
    "StorageOut": STORAGE,
    "UploadOut": UPLOAD,
    "UploadList": {"count": 1, "uploads": [UPLOAD]},
    **job_examples.BY_SCHEMA,
    "EngineOut": ENGINE,
    "ReleaseOut": RELEASE,
    "LoadedOut": LOADED,
    "LoadingOut": LOADING,
    "ChangeOut": CHANGES[1],
    "ResultOut": RESULT,
    "AiOut": {
        "processor": "spell-check",
        "model": "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf",
        "failed_count": 0,
        "results": [RESULT],
    },
    "BoxOut": BOX,
    "LineOut": LINE,
    "PageOut": PAGE,
    "ReadingSettingsOut": READING_SETTINGS,
    "RecognitionOut": RECOGNITION,
    "Alive": {"status": "alive"},
    "Ready": {
        "status": "ready",
        "checks": [
            {"name": "store", "ok": True, "required": True, "reason": None},
            {"name": "store-writable", "ok": True, "required": False, "reason": None},
            {"name": "engine", "ok": True, "required": True, "reason": None},
            *(
                {"name": each["name"], "ok": each["available"], "required": False, "reason": each["reason"]}
                for each in ENGINE["capabilities"]
            ),
        ],
    },
}
