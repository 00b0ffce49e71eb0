"""Damaged records: any JSON, any bytes and any type of file in the place of each kind of record of `.store/`."""

import json
import os
import shutil
import socket
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from hypothesis import strategies as st

from app.store.records.name_records import key_of
from tests.support.waiting import eventually

NOW = datetime.now(UTC)
STAMP = "20261121T092012Z"  # fixed, since the names of tests have it
PAST, SOON = (NOW - timedelta(days=9)).isoformat(), (NOW + timedelta(days=9)).isoformat()
JOB_ID, TRASH_ID, PARTIAL_ID = f"{STAMP}-0123456789ab", f"{STAMP}-ba9876543210", "0123456789abcdef" * 2
MODEL = "damaged.bin"
SERVICE_ID = "0123456789abcdef"
LEASE = f"{key_of(MODEL)[:32]}-0123456789abcdef.json"


@dataclass(frozen=True)
class Kind:
    """A kind of record."""

    path: str
    """The place of the record, below `.store/`."""
    fields: dict[str, Any]
    """The fields of a valid record."""
    beside: str | None = None
    """The file that the record describes, below `.store/`."""


KINDS = {
    "trash": Kind(
        f"trash/{TRASH_ID}.json",
        {"id": TRASH_ID, "name": MODEL, "size_bytes": 5, "deleted_at": PAST, "expires_at": SOON, "sha256": None},
        f"trash/{TRASH_ID}",
    ),
    "aside": Kind(
        f"trash/{TRASH_ID}.json",
        {"id": TRASH_ID, "name": MODEL, "size_bytes": 5, "deleted_at": PAST, "expires_at": SOON},
        f"aside/{TRASH_ID}.model",
    ),
    "purged": Kind(
        f"trash/{TRASH_ID}.json",
        {"id": TRASH_ID, "name": MODEL, "size_bytes": 5, "deleted_at": PAST, "expires_at": SOON},
        f"trash/{TRASH_ID}.purged",
    ),
    "finished job": Kind(
        f"jobs/{JOB_ID}.json",
        {
            "id": JOB_ID,
            "kind": "images",
            "created_at": PAST,
            "created_by": {"actor": "me", "request_id": None},
            "request": {"url": "https://hub.example/a"},
            "updated_at": PAST,
            "state": "succeeded",
            "phase": "working",
            "progress": {"done": 1, "total": 1, "unit": "items", "rate": 1.5, "eta_seconds": 0},
            "result": {"failed_count": 0},
            "failure": None,
            "finished_at": NOW.isoformat(),
            "owner": "host:1",
            "webhook": "https://receiver.example/ended",
        },
        f"jobs/{JOB_ID}.result",
    ),
    "queued pull": Kind(
        f"jobs/{JOB_ID}.json",
        {
            "id": JOB_ID,
            "kind": "pull",
            "created_at": PAST,
            "created_by": {"actor": "me"},
            "request": {"url": "http://127.0.0.1:9/a.bin", "revision": "main", "if_exists": "fail"},
            "updated_at": PAST,
        },
    ),
    "webhook": Kind(
        f"webhooks/{JOB_ID}.json",
        {"id": JOB_ID, "updated_at": PAST, "state": "pending", "attempts": 2, "waited_seconds": 7.5, "last_error": "x"}
        | {"next_attempt_at": NOW.isoformat()},
    ),
    "partial": Kind(
        f"staging/{PARTIAL_ID}.json",
        {
            "id": PARTIAL_ID,
            "name": MODEL,
            "kind": "upload",
            "actor": "me",
            "expected_bytes": 9,
            "created_at": PAST,
            "retention": 99999.0,
            "extra": {"sha256": None, "if_match": None, "if_none_match": None},
        },
        f"staging/{PARTIAL_ID}.part",
    ),
    "digest": Kind(f"digests/{key_of(MODEL)}.json", {"name": MODEL, "etag": '"5-1"', "sha256": "0" * 64}),
    "corrupt": Kind(
        f"corrupt/{key_of(MODEL)}.json", {"name": MODEL, "etag": '"5-1"', "sha256": "0" * 64, "since": PAST}
    ),
    "protection": Kind(
        f"protection/{key_of(MODEL)}.json", {"name": MODEL, "reason": "mine", "by": "me", "since": PAST}
    ),
    "lease": Kind(
        f"locks/leases/{LEASE}",
        {"name": MODEL, "kind": "engine", "holder": None, "pid": 1, "host": "here", "since": PAST},
    ),
    "journal": Kind(
        "journal.jsonl",
        {
            "at": PAST,
            "actor": "me",
            "action": "uploaded",
            "name": MODEL,
            "trash_id": None,
            "size_bytes": 5,
            "request_id": None,
        },
    ),
    "service": Kind(f"services/{SERVICE_ID}.7", {}),
    "service record": Kind(
        f"services/{SERVICE_ID}.7.json",
        {
            "written_at": PAST,
            "name": "one-8000",
            "engine_state": "ready",
            "loaded": {"processor": "spell-check", "model": MODEL, "since": PAST, "mapped_bytes": 5},
            "works": [{"kind": "recognise", "since": PAST, "job_id": JOB_ID}],
            "waiting": 1,
        },
    ),
}

FORGED = ["../../../victim", "..", "/etc/passwd", "a\x00b", "\ud800", "-1", PAST[:-6], "9999-12-31T23:59:59-12:00"]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.sampled_from(FORGED),
    lambda below: st.lists(below, max_size=3) | st.dictionaries(st.text(max_size=3), below, max_size=3),
    max_leaves=5,
)
WHOLE = st.sampled_from(
    [
        b"",
        b"{",
        b"null",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b" " * (9 << 20),
        b"\x00" * 300,
        b"\xff\xfe{}",
        b"NaN",
        b"9" * 5000,
    ]
)


@st.composite
def altered(draw: st.DrawFn, kind: Kind) -> bytes:
    """Return a valid record after one field was added, removed or given any other value."""
    fields = dict(kind.fields)
    for name in draw(st.lists(st.sampled_from([*(fields or ["id"]), "more"]), min_size=1, max_size=2)):
        if draw(st.integers(0, 3)):
            fields[name] = draw(VALUES)
        else:
            fields.pop(name, None)
    return json.dumps(fields).encode(errors="surrogatepass")


TYPES = ("file", "folder", "full folder", "named pipe", "link outside", "link to itself", "dangling link", "socket")


@st.composite
def damage(draw: st.DrawFn) -> tuple[str, str, bytes, str]:
    """Return a kind of record, and what to put in its place: the type of file and its content.

    The last value is the type of the file that the record describes.
    """
    name = draw(st.sampled_from(sorted(KINDS)))
    content = draw(altered(KINDS[name]) | WHOLE | st.binary(max_size=100))
    return name, draw(st.sampled_from(("file", *TYPES))), content, draw(st.sampled_from(("file", "file", *TYPES)))


def put(path: Path, type_: str, content: bytes, outside: Path) -> None:
    """Put a file of that type at a path, in place of what is there."""
    clear(path)
    path.parent.mkdir(exist_ok=True)
    if type_ == "file":
        path.write_bytes(content)
    elif type_ in {"folder", "full folder"}:
        path.mkdir()
        if type_ == "full folder":
            (path / "inside").write_bytes(content)
    elif type_ == "named pipe":
        os.mkfifo(path)
    elif type_ == "socket":
        before = Path.cwd()
        os.chdir(path.parent)  # a socket's address must be short
        try:
            with socket.socket(socket.AF_UNIX) as listener:
                listener.bind(path.name)
        finally:
            os.chdir(before)
    else:
        targets = {"link outside": outside, "link to itself": path, "dangling link": outside.with_name("nowhere")}
        path.symlink_to(targets[type_])


def clear(path: Path) -> None:
    """Remove what is at a path, of whatever type, even if a service puts something there meanwhile."""
    eventually(lambda: _remove(path), within=30)


def _remove(path: Path) -> bool:
    """Remove a file, link or folder. Return whether nothing is at the path: a service may have put something there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(FileNotFoundError, IsADirectoryError):
            path.unlink()
    return not os.path.lexists(path)
