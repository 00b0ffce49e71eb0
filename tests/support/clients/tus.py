"""Resumable uploads, as clients send them."""

import base64
import io

import httpx
from tusclient.client import TusClient
from tusclient.uploader import Uploader  # type: ignore[attr-defined]

from tests.support.service import RunningService

CHUNK = {"content-type": "application/offset+octet-stream", "tus-resumable": "1.0.0"}


def uploader(
    service: RunningService, content: bytes, *, url: str | None = None, chunk_size: int = 1 << 62, **metadata: str
) -> Uploader:
    """Return an uploader of the client tuspy, for a new upload or for the one at `url`."""
    client = TusClient(f"{service.url.rstrip('/')}/uploads")
    return client.uploader(file_stream=io.BytesIO(content), url=url, chunk_size=chunk_size, metadata=metadata)


def upload_metadata(**metadata: str) -> str:
    """Return the value of `Upload-Metadata`."""
    return ",".join(f"{key} {base64.b64encode(value.encode()).decode()}" for key, value in metadata.items())


def begin(
    service: RunningService, name: str, size_bytes: int, sha256: str | None = None, **headers: str
) -> httpx.Response:
    """Create an upload and return the answer. Header names have `_` for `-`."""
    metadata = upload_metadata(filename=name) if sha256 is None else upload_metadata(filename=name, sha256=sha256)
    fields = {"upload-length": str(size_bytes), "upload-metadata": metadata}
    return service.client.post(
        "/uploads", headers=fields | {key.replace("_", "-"): value for key, value in headers.items()}
    )


def begun(service: RunningService, name: str, size_bytes: int, sha256: str | None = None, **headers: str) -> str:
    """Create an upload and return its path."""
    return str(begin(service, name, size_bytes, sha256, **headers).raise_for_status().headers["location"])


def append(service: RunningService, path: str, offset: int, content: bytes, **headers: str) -> httpx.Response:
    """Send a PATCH with the content and return the answer."""
    fields = CHUNK | {"upload-offset": str(offset)} | {key.replace("_", "-"): value for key, value in headers.items()}
    return service.client.patch(path, content=content, headers=fields)


def offset_of(service: RunningService, path: str) -> int:
    """Return the offset of an upload."""
    return int(service.client.head(path).raise_for_status().headers["upload-offset"])
