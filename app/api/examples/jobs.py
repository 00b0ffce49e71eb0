"""Examples of jobs."""

from typing import Any

from app.api.examples.ids import JOB_ID
from app.engine.contract.processors import DEFAULT_MODEL

JOB: dict[str, Any] = {
    "id": JOB_ID,
    "kind": "pull",
    "state": "succeeded",
    "phase": "done",
    "progress": {"done": 24, "total": 24, "unit": "bytes", "rate": 96.0, "eta_seconds": 0.0},
    "queue": None,
    "request": {"repository": "org/repo", "file": "model-Q4_K_M.gguf", "revision": "main", "if_exists": "fail"},
    "result": {
        "models": [
            {
                "name": "org_repo/model-Q4_K_M.gguf",
                "size_bytes": 24,
                "sha256": "3db8754815d1394ccb5f0012336aaa36b0711bff80ac5470836a0cf1b581cbf9",
                "outcome": "pulled",
            }
        ]
    },
    "warnings": [],
    "error": None,
    "created_at": "2026-11-21T09:20:12.041523Z",
    "created_by": "nightly-models",
    "updated_at": "2026-11-21T09:20:12.503871Z",
    "finished_at": "2026-11-21T09:20:12.503842Z",
    "owner": "ocr-1:7",
    "webhook": None,
}

BATCH: dict[str, Any] = JOB | {
    "progress": {"done": 2, "total": 2, "unit": "items", "rate": 4.2, "eta_seconds": 0.0},
    "result": {"failed_count": 0},
}
IMAGES_JOB = BATCH | {
    "kind": "images",
    "request": {"language": "latin", "auto_skew": False, "upscale": False, "areas": "universal", "files": 2},
}
TEXTS_JOB = BATCH | {
    "kind": "texts",
    "request": {"processor": "spell-check", "model": DEFAULT_MODEL, "texts": 2},
}

PROBLEM: dict[str, Any] = {
    "type": "urn:ocr-model-service:problem:source-unavailable",
    "title": "The source is unavailable",
    "status": 502,
    "detail": "a.gguf of org/repo cannot be fetched now: the hub answered 503. Try again later.",
}


def _answers(job: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        "JobOut": job,
        "JobListOut": {"count": 1, "jobs": [job], "next_cursor": None, "warnings": []},
    }


BY_SCHEMA: dict[str, dict[str, Any]] = {
    **_answers(JOB),
    "JobProblemOut": PROBLEM,
    "ProgressOut": JOB["progress"],
}
BY_PREFIX = {"/ocr": _answers(IMAGES_JOB), "/ai": _answers(TEXTS_JOB)}
"""Examples of jobs other than pulls, by the beginning of the path and by schema."""
