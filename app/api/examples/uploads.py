"""Examples of resumable uploads."""

from typing import Any

from app.api.examples.ids import UPLOAD_ID

UPLOAD: dict[str, Any] = {
    "id": UPLOAD_ID,
    "name": "en_ocr_v3.bin",
    "purpose": "models",
    "offset": 12,
    "size_bytes": 24,
    "published": False,
    "active": False,
    "created_by": "anonymous",
    "created_at": "2026-11-21T06:37:11.339795Z",
    "expires_at": "2026-11-22T06:37:11.339795Z",
}

BY_SCHEMA: dict[str, dict[str, Any]] = {
    "UploadOut": UPLOAD,
    "UploadListOut": {"count": 1, "uploads": [UPLOAD], "warnings": []},
}
