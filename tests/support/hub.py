"""A real HTTP server with the hub's protocol, as huggingface_hub uses it, and a second server as its CDN.

Both servers record every request. They fail on request: each queued fault applies to one request for bytes, in order.
"""

import contextlib
import hashlib
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from email.message import Message
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

COMMIT = "1234567890abcdef1234567890abcdef12345678"
SENT_CHUNK_BYTES = 1 << 16


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one request for bytes. Each field that is set applies."""

    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    pause_seconds: float = 0
    """The pause before each chunk of the body."""
    cut_after: int | None = None
    """Close the connection after this many bytes of the body."""
    wait_after: int | None = None
    """After this many bytes of the body, send nothing more until `gate` is set."""
    gate: threading.Event = field(default_factory=threading.Event)
    ignore_range: bool = False
    ignore_if_range: bool = False
    """Send the requested range of another version too, as a server that does not know If-Range does."""
    missing_bytes: int = 0
    """Shorten the file by this many bytes, in Content-Length and body."""
    content: bytes | None = None
    """Send these bytes with their own ETag, now and for all later requests."""


@dataclass(frozen=True)
class Seen:
    """One request that a server received."""

    server: str
    """`hub` or `cdn`."""
    method: str
    path: str
    headers: Message


@dataclass
class HubFile:
    """One file of a repository."""

    content: bytes
    is_large: bool = True
    """True if the file is on the CDN (LFS), False if the hub sends it."""

    @property
    def sha256(self) -> str:
        """The SHA-256 of the content."""
        return hashlib.sha256(self.content).hexdigest()


class Hub:
    """A hub and its CDN, on two addresses, by default of loopback. As a context manager, it runs both servers."""

    def __init__(self, hosts: tuple[str, str] = ("127.0.0.1", "127.0.0.2")) -> None:
        self.files: dict[tuple[str, str], HubFile] = {}
        self.sizes: dict[tuple[str, str], int] = {}
        """The sizes that the hub states for files, where they differ from the true sizes."""
        self.served: dict[str, bytes] = {}
        """The content of the CDN by path, where it differs from the repository's file or has none."""
        self.faults: deque[Fault] = deque()
        """The faults of the next requests for bytes, at either server."""
        self.hub_faults: deque[Fault] = deque()
        """The faults of the next requests for the metadata of files."""
        self.token: str | None = None
        """The token that gated repositories require."""
        self.gated: set[str] = set()
        self.redirects: dict[str, str] = {}
        """Additional redirects by path, at either server."""
        self.seen: list[Seen] = []
        # Two hosts, because huggingface_hub sends the token to every port of the hub's host.
        self._servers = {
            "hub": ThreadingHTTPServer((hosts[0], 0), partial(Handler, self, "hub")),
            "cdn": ThreadingHTTPServer((hosts[1], 0), partial(Handler, self, "cdn")),
        }
        self._stopping = threading.Event()

    def __enter__(self) -> "Hub":
        for server in self._servers.values():
            server.daemon_threads = True
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        for fault in self.faults:
            fault.gate.set()
        for server in self._servers.values():
            server.shutdown()
            server.server_close()

    def forget(self) -> None:
        """Return to the initial state: no files, faults or recorded requests. Requests that wait at a gate continue."""
        self._stopping.set()
        self._stopping = threading.Event()
        self.token = None
        self.files.clear()
        self.gated.clear()
        self.seen.clear()
        for kept in (self.sizes, self.served, self.redirects, self.faults, self.hub_faults):
            kept.clear()

    @property
    def url(self) -> str:
        """The URL of the hub, for OCR_HUB_ENDPOINT."""
        return self._url_of("hub")

    @property
    def cdn_url(self) -> str:
        """The URL of the CDN, which has large files and plain URLs."""
        return self._url_of("cdn")

    def add(self, repository: str, path: str, content: bytes, *, is_large: bool = True) -> HubFile:
        """Add a file to a repository; a large file is on the CDN."""
        file = self.files[repository, path] = HubFile(content, is_large)
        return file

    def put(self, path: str, content: bytes) -> str:
        """Put a file on the CDN only, and return its URL."""
        self.served[path] = content
        return f"{self.cdn_url}{path}"

    def content_at(self, path: str) -> bytes | None:
        """Return the content of the CDN at a path; None if it has none."""
        if path in self.served:
            return self.served[path]
        repository, _, name = path.removeprefix("/lfs/").partition("//")
        file = self.files.get((repository, name))
        return file.content if file else None

    def usual_at(self, path: str) -> Fault:
        """Return the fault of a request for the CDN's bytes when no fault is queued."""
        del path
        return Fault()

    def asked(self, server: str, method: str = "GET") -> list[Seen]:
        """Return the requests that one server received with one method."""
        return [seen for seen in self.seen if (seen.server, seen.method) == (server, method)]

    def wait(self, fault: Fault) -> None:
        """Wait until a fault's gate is set, or the server stops or is reset by `forget`."""
        stopping = self._stopping
        while not fault.gate.wait(0.05) and not stopping.is_set():
            pass

    def pause(self, seconds: float) -> None:
        """Wait for some seconds, or until the server stops."""
        if seconds:
            self._stopping.wait(seconds)

    def _url_of(self, name: str) -> str:
        host, port = self._servers[name].server_address[:2]
        return f"http://{host!s}:{port}"


@contextmanager
def running_hub() -> Iterator[Hub]:
    """Run a hub until the end of the `with` block."""
    with Hub() as hub:
        yield hub


class Handler(BaseHTTPRequestHandler):
    """The handler of one connection to either server."""

    protocol_version = "HTTP/1.1"

    def __init__(self, hub: Hub, server_name: str, *args: Any) -> None:
        self._hub = hub
        self._name = server_name
        super().__init__(*args)

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):  # the client has closed an idle connection
            super().handle()

    def do_GET(self) -> None:
        self._answer()

    def do_HEAD(self) -> None:
        self._answer()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the standard library
        """Log nothing."""

    def _answer(self) -> None:
        url = urlsplit(self.path)
        path = unquote(url.path)
        self._hub.seen.append(Seen(self._name, self.command, self.path, self.headers))
        if path in self._hub.redirects:
            self._head(302, {"Location": self._hub.redirects[path], "Content-Length": "0"})
        elif self._name == "cdn":
            self._bytes(self._hub.content_at(path), usual=self._hub.usual_at(path))
        elif path.startswith("/api/models/"):
            self._describe(path.removeprefix("/api/models/"), "blobs" in parse_qs(url.query))
        elif "/resolve/" in path:
            repository, _, rest = path.strip("/").partition("/resolve/")
            revision, _, name = rest.partition("/")
            self._resolve(repository, revision, name)
        else:
            self._refuse(404, {})

    def _resolve(self, repository: str, revision: str, name: str) -> None:
        """Answer `HEAD` and `GET /{repository}/resolve/{revision}/{file}`."""
        if self._fails(self._hub.hub_faults) or not self._may_enter(repository, revision):
            return
        file = self._hub.files.get((repository, name))
        if file is None:
            self._refuse(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT})
        elif file.is_large:
            size = self._hub.sizes.get((repository, name), len(file.content))
            linked = {"X-Linked-Etag": f'"{file.sha256}"', "X-Linked-Size": str(size)}
            location = f"{self._hub.cdn_url}/lfs/{repository}//{quote(name)}?signature=x"
            self._head(302, {"X-Repo-Commit": COMMIT, "Location": location, "Content-Length": "0", **linked})
        else:
            self._bytes(file.content, {"X-Repo-Commit": COMMIT})

    def _describe(self, rest: str, has_blobs: bool) -> None:  # noqa: FBT001 - from the query
        """Answer `GET /api/models/{repository}/revision/{revision}?blobs=true`."""
        repository, _, revision = rest.partition("/revision/")
        if self._fails(self._hub.hub_faults) or not self._may_enter(repository, revision or "main"):
            return
        siblings = [
            {"rfilename": name}
            | (_blob(file, self._hub.sizes.get((owner, name), len(file.content))) if has_blobs else {})
            for (owner, name), file in self._hub.files.items()
            if owner == repository
        ]
        body = json.dumps({"id": repository, "modelId": repository, "sha": COMMIT, "siblings": siblings}).encode()
        self._head(200, {"Content-Type": "application/json", "Content-Length": str(len(body))})
        self._write(body)

    def _may_enter(self, repository: str, revision: str) -> bool:
        if not any(owner == repository for owner, _ in self._hub.files):
            self._refuse(401 if self._hub.token else 404, {"X-Error-Code": "RepoNotFound"})
        elif revision not in {"main", COMMIT}:
            self._refuse(404, {"X-Error-Code": "RevisionNotFound"})
        elif repository in self._hub.gated and self.headers["Authorization"] != f"Bearer {self._hub.token}":
            self._refuse(403 if self.headers["Authorization"] else 401, {"X-Error-Code": "GatedRepo"})
        else:
            return True
        return False

    def _fails(self, faults: deque[Fault]) -> bool:
        fault = faults.popleft() if faults else None
        if fault and fault.wait_after is not None:
            self._hub.wait(fault)
        if fault and fault.status:
            self._refuse(fault.status, fault.headers)
            return True
        return False

    def _bytes(
        self, content: bytes | None, headers: Mapping[str, str] | None = None, usual: Fault | None = None
    ) -> None:
        """Answer with a file, or with the range of it that the request names."""
        if content is None:
            self._refuse(404, {})
            return
        wants_bytes = self.command == "GET" and bool(self._hub.faults)
        fault = self._hub.faults.popleft() if wants_bytes else usual or Fault()
        if fault.status:
            self._refuse(fault.status, fault.headers)
            return
        if fault.content is not None:
            content = fault.content
            self._hub.served[unquote(urlsplit(self.path).path)] = content
        etag = f'"{hashlib.md5(content, usedforsecurity=False).hexdigest()}"'
        content = content[: len(content) - fault.missing_bytes]
        start = 0 if fault.ignore_range else self._start(etag, fault)
        answered = dict(headers or {}) | {"ETag": etag, "Content-Length": str(max(0, len(content) - start))}
        answered |= dict(fault.headers)
        if start:
            answered["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
        self._head(206 if start else 200, answered)
        self._send(memoryview(content)[start:], fault)

    def _start(self, etag: str, fault: Fault) -> int:
        wanted = self.headers.get("Range", "")
        if not wanted or (self.headers.get("If-Range", etag) != etag and not fault.ignore_if_range):
            return 0
        return int(wanted.removeprefix("bytes=").partition("-")[0])

    def _send(self, content: memoryview, fault: Fault) -> None:
        """Write the body up to the point where the fault stops it."""
        stops = [stop for stop in (fault.cut_after, fault.wait_after) if stop is not None]
        stop = min([*stops, len(content)])
        self._write(content[:stop], fault.pause_seconds)
        if fault.wait_after is not None:
            self._hub.wait(fault)
        if fault.cut_after is not None:
            self.close_connection = True
        elif stop < len(content):
            self._write(content[stop:], fault.pause_seconds)

    def _refuse(self, status: int, headers: Mapping[str, str]) -> None:
        self._head(status, {"Content-Length": "0", **headers})

    def _head(self, status: int, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()

    def _write(self, content: bytes | memoryview, pause_seconds: float = 0) -> None:
        if self.command == "HEAD":
            return
        try:
            for start in range(0, len(content), SENT_CHUNK_BYTES):
                self._hub.pause(pause_seconds)
                self.wfile.write(content[start : start + SENT_CHUNK_BYTES])
            self.wfile.flush()
        except OSError:
            self.close_connection = True  # the client has closed the connection


def _blob(file: HubFile, size: int) -> dict[str, Any]:
    pointer = {"lfs": {"sha256": file.sha256, "size": size, "pointerSize": 130}} if file.is_large else {}
    return {"size": size, "blobId": hashlib.sha1(file.content, usedforsecurity=False).hexdigest()} | pointer
