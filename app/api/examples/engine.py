"""Examples of the engine's state, of processed texts and of recognised images."""

from typing import Any

from app.api.examples.models import FOLDER
from app.engine.contract.processors import DEFAULT_MODEL

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
    "memory_limit_bytes": 3758096384,
    "gpu_layers": None,
    "context_size": 4096,
    "loading": None,
    "loaded": None,
    "open_ocr_models": [{"model": "aspose-ocr-cyrillic-v1.ocr", "mapped_bytes": 0}],
    "vendor": {"package": "aspose-ocr-python-net", "version": "26.10.0"},
    "license": {"mode": "evaluation", "error": None},
    "local_path": FOLDER,
    "list_local": [],
    "resources_list_local": ["aspose-ocr-cyrillic-v1"],
    "runtime": None,
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

SERVICE_ENGINE: dict[str, Any] = {
    "id": "9f2c41d7a80be653",
    "name": "ocr-1-8000",
    "host": "ocr-1",
    "pid": 7,
    "version": "0.1.0",
    "started_at": "2026-11-21T06:37:11.802145Z",
    "read_only": False,
    "silent": False,
    "age_seconds": 0.0,
    "state": "ready",
    "loaded": {
        "processor": "spell-check",
        "model": DEFAULT_MODEL,
        "since": "2026-11-21T06:37:58.120331Z",
        "mapped_bytes": 2019377696,
    },
    "loading": None,
    "works": [{"kind": "recognise", "since": "2026-11-21T06:38:10.311902Z", "job_id": None}],
    "waiting": 2,
    "expected_seconds": 14.2,
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
    "model": DEFAULT_MODEL,
    "since": "2026-11-21T06:38:02.772825Z",
    "mapped_bytes": 2019377696,
}

LOADING: dict[str, Any] = {
    "processor": "spell-check",
    "model": DEFAULT_MODEL,
    "model_bytes": 2019377696,
}

CORRECTED_WORDS: list[dict[str, Any]] = [
    {"op": "equal", "before": "The ", "after": "The "},
    {"op": "replace", "before": "quik", "after": "quick"},
    {"op": "equal", "before": " brown fox", "after": " brown fox"},
]

RESULT: dict[str, Any] = {
    "text": "The quick brown fox",
    "diff": CORRECTED_WORDS,
    "uncorrected_lines": [],
    "error": None,
}

BOX: dict[str, Any] = {"x": 33, "y": 54, "width": 795, "height": 29}

LINE: dict[str, Any] = {"text": "The quick brown fox jumps over the lazy dog number 10", "box": BOX}

REGION: dict[str, Any] = {"text": "The quick brown fox", "box": BOX}

PAGE: dict[str, Any] = {
    "number": 1,
    "source": None,
    "width": 870,
    "height": 432,
    "text": "The quick brown fox jumps over the lazy dog number 10",
    "corrected": None,
    "skew_degrees": None,
    "truncated_by_evaluation": True,
    "lines": [LINE],
    "regions": [],
    "warnings": [{"code": "image-cut-short", "detail": "the file ends early"}],
}

READING_SETTINGS: dict[str, Any] = {
    "kind": "text",
    "mode": "accurate",
    "language": "latin",
    "areas": "universal",
    "auto_skew": False,
    "upscale": False,
    "filters": [],
}

RECOGNITION: dict[str, Any] = {
    "text": "The quick brown fox jumps over the lazy dog number 10",
    "truncated_by_evaluation": True,
    "pages": [PAGE],
    "settings": READING_SETTINGS,
    "engine_seconds": 1.483,
}

FILE: dict[str, Any] = {"index": 0, "name": "page-1.png", "recognition": RECOGNITION, "error": None}

TABLE_PAGE: dict[str, Any] = {
    "number": 1,
    "source": None,
    "rows": [["Name", "Amount", "Currency"], ["Apples", "12", "EUR"]],
    "truncated_by_evaluation": True,
    "warnings": [],
}

BY_SCHEMA: dict[str, dict[str, Any]] = {
    "EngineOut": ENGINE,
    "ServiceEngineOut": SERVICE_ENGINE,
    "EnginesOut": {"engines": [SERVICE_ENGINE]},
    "ReleaseOut": RELEASE,
    "LoadIn": {"processor": "spell-check"},
    "LoadedOut": LOADED,
    "LoadingOut": LOADING,
    "ChangeOut": CORRECTED_WORDS[1],
    "TextResultOut": RESULT,
    "AiOut": {
        "processor": "spell-check",
        "model": DEFAULT_MODEL,
        "failed_count": 0,
        "results": [RESULT],
    },
    "TextJobResultOut": {"index": 0} | RESULT,
    "TextJobResultsOut": {
        "processor": "spell-check",
        "model": DEFAULT_MODEL,
        "failed_count": 0,
        "results": [{"index": 0} | RESULT],
        "next_cursor": None,
    },
    "BoxOut": BOX,
    "LineOut": LINE,
    "PageOut": PAGE,
    "RegionOut": REGION,
    "ReadingSettingsOut": READING_SETTINGS,
    "RecognitionOut": RECOGNITION,
    "FileResultOut": FILE,
    "RecognitionsOut": {"failed_count": 0, "results": [FILE], "next_cursor": None},
    "TablePageOut": TABLE_PAGE,
    "TablesOut": {"truncated_by_evaluation": True, "pages": [TABLE_PAGE], "engine_seconds": 1.514},
}
