"""A web page of another origin in a real browser: what it can do with and without `OCR_CORS_ORIGINS`."""

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from tests.support.clients import npm
from tests.support.clients.browser import Browser
from tests.support.service import RunningService

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

UPLOAD = """
const service = arguments[0], size = 300000, bytes = new Uint8Array(size).fill(7);
const tus = {'tus-resumable': '1.0.0'}, chunk = {...tus, 'content-type': 'application/offset+octet-stream'};
const metadata = `filename ${btoa('page.bin')}`;
const created = await fetch(`${service}/uploads`,
    {method: 'POST', headers: {...tus, 'upload-length': size, 'upload-metadata': metadata}});
const upload = new URL(created.headers.get('location'), service);
await fetch(upload, {method: 'PATCH', headers: {...chunk, 'upload-offset': 0}, body: bytes.slice(0, 100000)});
const head = await fetch(upload, {method: 'HEAD', headers: tus}), offset = Number(head.headers.get('upload-offset'));
const last = await fetch(upload,
    {method: 'PATCH', headers: {...chunk, 'upload-offset': offset}, body: bytes.slice(offset)});
const content = await fetch(`${service}/models/page.bin/content`, {headers: {range: 'bytes=0-9'}});
const deleted = await fetch(`${service}/models/page.bin`,
    {method: 'DELETE', headers: {'if-match': last.headers.get('etag')}});
return [offset, last.headers.get('content-location'), content.status, content.headers.get('content-range'),
    deleted.status];
"""
TUS_CLIENT = """
const service = arguments[0], content = Uint8Array.from({length: 300000}, (_, index) => index % 251);
const file = new File([content], 'tus.bin'), chunks = [];
const options = {endpoint: `${service}/uploads`, chunkSize: 100000, metadata: {filename: 'tus.bin'}};
await new Promise((resolve, reject) => {
    const first = new tus.Upload(file, {...options, onError: reject, onChunkComplete: (_, stored) => {
        chunks.push(stored);
        first.abort().then(resolve, reject);
    }});
    first.start();
});
await new Promise((resolve, reject) => {
    const next = new tus.Upload(file, {...options, onError: reject, onSuccess: resolve,
        onChunkComplete: (_, stored) => chunks.push(stored)});
    next.findPreviousUploads().then(([previous]) => {
        next.resumeFromPreviousUpload(previous);
        next.start();
    }, reject);
});
const answer = await fetch(`${service}/models/tus.bin/content`), stored = new Uint8Array(await answer.arrayBuffer());
return [chunks, stored.length === content.length && stored.every((byte, index) => byte === content[index])];
"""
TUS_PACKAGE = "tus-js-client@4.3.1"
RECOGNISE = """
const service = arguments[0], form = new FormData();
form.append('file', new Blob(['read a fox'], {type: 'image/png'}), 'a.png');
const answer = await fetch(`${service}/ocr`, {method: 'POST', body: form});
return [(await answer.json()).text, answer.headers.get('x-truncated-by-evaluation')];
"""
FOLLOW = """
const service = arguments[0], form = new FormData();
form.append('file', new Blob(['nap 1'], {type: 'image/png'}), 'a.png');
const accepted = await fetch(`${service}/ocr`, {method: 'POST', body: form, headers: {prefer: 'respond-async'}});
return await new Promise(resolve => {
    const seen = [], source = new EventSource(`${service}${accepted.headers.get('location')}/events`);
    source.onmessage = event => seen.push(JSON.parse(event.data).final);
    source.onerror = () => source.readyState === EventSource.CLOSED && resolve(seen);
});
"""
PROBLEM = """
const answer = await fetch(`${arguments[0]}/models/none.bin`, {headers: {'x-request-id': 'page-1'}});
return [(await answer.json()).status, answer.headers.get('x-request-id')];
"""
REFUSED = """
const of = (path, options) => fetch(arguments[0] + path, options).then(answer => answer.status, () => 'failed');
return [await of('/models'), await of('/models/kept.bin', {method: 'DELETE'}),
    await of('/ocr', {method: 'POST', body: 'read a fox'})];
"""


class Page(BaseHTTPRequestHandler):
    """An empty web page."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/html")
        self.end_headers()
        self.wfile.write(b"<!doctype html><link rel=icon href=data:,><title>page</title>")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def serving_pages() -> Iterator[str]:
    """Serve empty web pages on a port of their own, and yield their origin."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Page) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


class Web:
    """A browser, a service, and web pages of two origins, of which the service allows the first."""

    def __init__(self, running: ExitStack, folder: Path) -> None:
        self.allowed, self.other = (running.enter_context(serving_pages()) for _ in range(2))
        settings: dict[str, Any] = {"engine_class": "tests.support.engines:Reads", "cors_origins": self.allowed}
        self.service = running.enter_context(RunningService(folder, **settings)).wait_until_ready()
        self.browser = running.enter_context(Browser(folder))

    def run(self, origin: str, script: str) -> Any:
        """Open a page of an origin, run an asynchronous script in it, and return its result."""
        self.browser.open(origin)
        return self.browser.run(f"return (async function () {{ {script} }}).apply(null, arguments)", self.service.url)


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with ExitStack() as running:
        yield Web(running, tmp_path_factory.mktemp("web"))


def test_a_page_of_an_allowed_origin_uploads_by_tus(web: Web) -> None:
    """The page creates an upload, resumes it, reads a range of the model and deletes the version that it uploaded."""
    assert web.run(web.allowed, UPLOAD) == [100000, "/models/page.bin", 206, "bytes 0-9/300000", 200]


def test_tus_js_client_resumes_an_upload_in_a_page(web: Web, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The client that pages use stops after a chunk, finds the upload again and sends the rest of it."""
    package = npm.install(tmp_path_factory.mktemp("tus"), TUS_PACKAGE) / "tus-js-client"
    client = package.joinpath("dist/tus.min.js").read_text()

    assert web.run(web.allowed, f"{client}\n{TUS_CLIENT}") == [[100000, 200000, 300000], True]


def test_a_page_of_an_allowed_origin_recognises_an_image(web: Web) -> None:
    """The page sends an image in a form, and reads the text and the headers of the answer."""
    assert web.run(web.allowed, RECOGNISE) == ["a fox", "false"]


def test_an_event_source_ends_with_its_job(web: Web) -> None:
    """The page gets one final event. The browser reconnects once, learns that there is no more, and stops."""
    *before, last = web.run(web.allowed, FOLLOW)

    assert last is True
    assert not any(before)


def test_a_page_of_an_allowed_origin_reads_problems(web: Web) -> None:
    """The page can read an error and its request id."""
    assert web.run(web.allowed, PROBLEM) == [404, "page-1"]


def test_a_page_of_another_origin_can_do_nothing(web: Web) -> None:
    """The browser lets such a page read nothing, and the service lets it change nothing."""
    (web.service.models_dir / "kept.bin").write_bytes(b"x")

    assert web.run(web.other, REFUSED) == ["failed", "failed", "failed"]
    assert (web.service.models_dir / "kept.bin").exists()
