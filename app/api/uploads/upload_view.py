"""An upload as answers show it: the JSON object, and the headers of the tus protocol."""

from datetime import UTC, datetime

from fastapi import Request

from app.api.models.upload import location_of
from app.api.uploads import tus
from app.api.uploads.schemas import UploadOut
from app.store import Partial, PartialRecord


def upload_out(found: Partial) -> UploadOut:
    """Return an upload as JSON answers show it."""
    record = found.record
    assert record is not None  # noqa: S101 - every upload has a record
    size_bytes = record.expected_bytes or 0
    # Until the model is published, a client must not take the upload for finished.
    is_for_job = record.kind == "file"
    offset = found.size_bytes if found.is_published or is_for_job else min(found.size_bytes, size_bytes - 1)
    return UploadOut(
        id=found.id,
        name=(record.extra.get("file_name") if is_for_job else record.name) or "",
        purpose="images" if is_for_job else "models",
        offset=offset,
        size_bytes=size_bytes,
        published=found.is_published,
        active=found.is_active,
        created_by=record.actor,
        created_at=record.created_at,
        expires_at=record.expires_at(found.modified_at),
    )


def metadata_of(found: Partial) -> str:
    """Return the `Upload-Metadata` that the upload was created with."""
    record = found.record
    assert record is not None  # noqa: S101 - every upload has a record
    # A record of an earlier release lacks the header.
    return str(record.extra.get("metadata") or tus.metadata_of(record.name, record.extra.get("sha256")))


def progress_headers(offset: int, record: PartialRecord) -> dict[str, str]:
    """Return the headers of an upload that is not complete."""
    return {"upload-offset": str(offset), "upload-expires": tus.http_date(record.expires_at(datetime.now(UTC)))}


def published_headers(request: Request, name: str, offset: int) -> dict[str, str]:
    """Return the headers of an upload whose model is published."""
    return {"upload-offset": str(offset), "content-location": location_of(request, name)}
