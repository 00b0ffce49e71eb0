"""Examples of OCR models."""

from typing import Any

RESOURCE_LIST: dict[str, Any] = {
    "site_url": "https://github.com/aspose-ocr/resources/raw/HEAD",
    "asked_at": "2026-11-26T16:59:41.480112Z",
    "remote_error": None,
    "count": 1,
    "resources": [
        {
            "name": "aspose-ocr-cyrillic-v1",
            "file": "aspose-ocr-cyrillic-v1.ocr",
            "offered": True,
            "offered_size_bytes": 41231,
            "offered_sha256": None,
            "here": True,
            "size_bytes": 41231,
            "recognised": True,
            "in_use": False,
            "needed_for": {"languages": ["bel", "bul", "rus"], "areas": [], "methods": [], "filters": []},
            "remark": None,
        }
    ],
}

BY_SCHEMA: dict[str, dict[str, Any]] = {"ResourceListOut": RESOURCE_LIST}
