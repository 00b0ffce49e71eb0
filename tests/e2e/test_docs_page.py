"""The docs page in a real browser without the internet, directly and behind proxies, with and without keys."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import pytest

from app.api.http.keys import Scope, entry_for, new_key
from tests.conftest import Serve
from tests.support.browser import Browser
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PREFIX = "/models-api"
MODEL = "org_repo/model Q4.gguf"


class Proxy(ThreadingHTTPServer):
    """A reverse proxy that adds a path prefix to a service. It removes the prefix when it forwards, or keeps it."""

    daemon_threads = True

    def __init__(self, target: str, *, strips: bool) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.strips = strips
        self.client = httpx.Client(base_url=target, timeout=60)

    @property
    def url(self) -> str:
        """The URL of the service behind the proxy."""
        return f"http://127.0.0.1:{self.server_port}{PREFIX}"


class Passing(BaseHTTPRequestHandler):
    """The handler of one request. Paths outside the prefix get 404."""

    server: Proxy

    def do_GET(self) -> None:
        if not self.path.startswith(f"{PREFIX}/"):
            self.send_error(404)
            return
        path = self.path.removeprefix(PREFIX) if self.server.strips else self.path
        answer = self.server.client.get(path, headers=list(self.headers.items()))
        self.send_response_only(answer.status_code)
        for name, value in answer.headers.multi_items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(answer.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        pass


@contextmanager
def proxying(target: str, *, strips: bool) -> Iterator[str]:
    """Run a proxy in front of a service and yield its URL."""
    with Proxy(target, strips=strips) as proxy, proxy.client:
        thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield proxy.url
        finally:
            proxy.shutdown()
            thread.join()


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Browser]:
    """Run a browser."""
    with Browser(tmp_path) as browser:
        yield browser


@pytest.fixture(params=["direct", "behind a proxy that strips its prefix", "behind a proxy that keeps its prefix"])
def address(request: pytest.FixtureRequest, serve: Serve) -> Iterator[str]:
    """Run a service with one model, directly or behind a proxy, and yield its URL."""
    direct = request.param == "direct"
    service = serve(engine_class=ECHO, root_path="" if direct else PREFIX)
    put_model(service)
    if direct:
        yield service.url
    else:
        with proxying(service.url, strips="strips" in request.param) as url:
            yield url


def put_model(service: RunningService) -> None:
    """Create a model whose name has a slash and a space."""
    path = service.models_dir / MODEL
    path.parent.mkdir()
    path.write_bytes(b"x" * 10)


def operations_of(document: dict[str, dict[str, dict[str, dict[str, str]]]]) -> dict[str, str]:
    """Return the element id on the page of each operation, such as `GET /models`."""
    return {
        f"{method.upper()} {path}": f"#operations-{operation['tags'][0]}-{operation['operationId']}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }


def execute(browser: Browser, operation: str, **parameters: str) -> None:
    """Press "Try it out", fill in the parameters, and press "Execute"."""
    if not browser.texts(f"{operation} .execute"):
        browser.click(f"{operation} .opblock-summary-control")
        browser.click(f"{operation} .try-out__btn")
    for name, value in parameters.items():
        browser.type(f"{operation} tr[data-param-name='{name}'] input", value)
    browser.click(f"{operation} .execute")


def shown_status(browser: Browser, operation: str) -> str:
    """Return the status of the shown answer; empty while there is none."""
    return "".join(browser.texts(f"{operation} .live-responses-table .response .response-col_status"))


def wait_for_status(browser: Browser, operation: str, status: str) -> None:
    """Wait until the page shows a status."""
    eventually(lambda: shown_status(browser, operation) == status, within=20)


def test_the_page_lists_every_operation_without_the_internet(address: str, browser: Browser) -> None:
    """The service's address leads to a page with every operation, which requests nothing from another host."""
    operations = operations_of(httpx.get(f"{address}/openapi.json", timeout=60).json())

    browser.open(f"{address}/")
    browser.text(f"{list(operations.values())[-1]} .opblock-summary-path")

    shown = zip(browser.texts(".opblock-summary-method"), browser.texts(".opblock-summary-path"), strict=True)
    assert sorted(" ".join(parts).replace("\u200b", "") for parts in shown) == sorted(operations)
    assert_quiet(browser, address)


def test_every_operation_can_be_opened(serve: Serve, browser: Browser) -> None:
    """Each operation, once opened, shows its responses, without an error or a request to another host."""
    service = serve(engine_class=ECHO)

    browser.open(f"{service.url}/docs")
    for operation in operations_of(service.client.get("/openapi.json").json()).values():
        browser.click(f"{operation} .opblock-summary-control")
        browser.text(f"{operation} .responses-table")
        # Close it: with all operations open at once the page takes minutes.
        browser.click(f"{operation} .opblock-summary-control")

    assert_quiet(browser, service.url)


def assert_quiet(browser: Browser, address: str) -> None:
    """Check that the page shows and logs no error, and that all its requests went to the address and succeeded."""
    assert browser.texts(".errors-wrapper") == []
    assert browser.console_errors() == []
    traffic = browser.traffic()
    assert traffic.failures == []
    assert traffic.origins == {address.removesuffix(PREFIX)}


def test_a_name_with_a_slash_and_a_space_can_be_tried_out(address: str, browser: Browser) -> None:
    """ "Try it out" finds a model whose name has a slash and a space."""
    operation = operations_of(httpx.get(f"{address}/openapi.json", timeout=60).json())["GET /models/{name}"]

    browser.open(f"{address}/docs")
    execute(browser, operation, name=MODEL)

    wait_for_status(browser, operation, "200")
    assert f'"name": "{MODEL}"' in browser.text(f"{operation} .live-responses-table .response .highlight-code")
    assert browser.console_errors() == []


def test_a_key_that_is_entered_in_the_page_is_used(serve: Serve, browser: Browser, tmp_path: Path) -> None:
    """The page's requests get 401 without a key, and 200 once a key is entered, also after a reload."""
    key = new_key()
    keys = tmp_path / "keys.toml"
    keys.write_text(entry_for("reader", [Scope.READ], key))
    service = serve(engine_class=ECHO, api_keys_file=keys)
    operation = operations_of(service.client.get("/openapi.json").json())["GET /models"]

    browser.open(f"{service.url}/docs")
    execute(browser, operation)
    wait_for_status(browser, operation, "401")

    browser.click(".auth-wrapper .authorize")
    browser.type(".auth-container input", key)
    browser.click(".auth-container .authorize")
    browser.click(".auth-container .btn-done")
    execute(browser, operation)
    wait_for_status(browser, operation, "200")

    browser.open(f"{service.url}/docs")
    execute(browser, operation)
    wait_for_status(browser, operation, "200")
