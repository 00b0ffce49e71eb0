"""The pages in a real browser without the internet, directly and behind proxies, with and without keys."""

import json
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.api.http.keys import Scope, entry_for, new_key
from tests.conftest import Serve
from tests.support.clients import npm
from tests.support.clients.browser import Browser
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

PREFIX = "/models-api"
MODEL = "org_repo/model Q4.gguf"
AXE = "axe-core@4.14.1"
DESKTOP, PHONE = (1280, 1400), (390, 844)
LARGEST_OPENED = 5500
"""The height in pixels that an opened operation may have on a desktop. Each problem's example in full took 9,300."""
REFERENCE = "#reference [data-section-id='tag/models/operation/list_models'] h2"
"""An element that the reference page has once it shows the document."""
PICTURES = os.environ.get("DOCS_PAGE_PICTURES")
"""The folder that gets the screenshots; by default the test's temporary folder."""


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
        with self.server.client.stream("GET", path, headers=list(self.headers.items())) as answer:
            content = b"".join(answer.iter_raw())  # compressed, as its headers say
        self.send_response_only(answer.status_code)
        for name, value in answer.headers.multi_items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(content)

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


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Run a browser for all tests of this file."""
    with Browser(tmp_path_factory.mktemp("browser")) as browser:
        yield browser


@pytest.fixture(autouse=True)
def _desktop(browser: Browser) -> None:
    browser.use_screen(*DESKTOP)


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service with one model, for the tests that only look at its pages."""
    with RunningService(tmp_path_factory.mktemp("service"), engine_class=ECHO) as service:
        put_model(service)
        yield service


@pytest.fixture(scope="module")
def operations(page: RunningService) -> dict[str, str]:
    """Return the element id of each operation that the page shows."""
    return operations_of(page.client.get("/docs/openapi.json").json())


@pytest.fixture(
    scope="module", params=["direct", "behind a proxy that strips its prefix", "behind a proxy that keeps its prefix"]
)
def address(
    request: pytest.FixtureRequest, page: RunningService, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Run a service with one model, directly or behind a proxy, and yield its URL."""
    if request.param == "direct":
        yield page.url
        return
    with RunningService(tmp_path_factory.mktemp("behind"), engine_class=ECHO, root_path=PREFIX) as service:
        put_model(service)
        with proxying(service.url, strips="strips" in request.param) as url:
            yield url


def put_model(service: RunningService) -> None:
    """Create a model whose name has a slash and a space."""
    path = service.models_dir / MODEL
    path.parent.mkdir()
    path.write_bytes(b"x" * 10)


def operations_of(document: dict[str, Any]) -> dict[str, str]:
    """Return the element id on the page of each operation, such as `GET /models`; HEAD and OPTIONS are not shown."""
    return {
        f"{method.upper()} {path}": f"#operations-{operation['tags'][0]}-{operation['operationId']}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method not in {"head", "options"}
    }


def open_docs(browser: Browser, address: str, operation: str) -> None:
    """Open the docs page and wait until it shows the operation."""
    browser.open(f"{address}/docs")
    browser.text(f"{operation} .opblock-summary-path")


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
    eventually(lambda: shown_status(browser, operation) == status, within=60)


def assert_quiet(browser: Browser, address: str) -> None:
    """Check that the page shows and logs no error, and that all its requests went to the address and succeeded."""
    assert browser.texts(".errors-wrapper") == []
    assert browser.console_errors() == []
    traffic = browser.traffic()
    assert traffic.failures == []
    assert traffic.origins == {address.removesuffix(PREFIX)}


def forget(browser: Browser) -> None:
    """Forget what earlier tests let the browser log."""
    browser.open("about:blank")
    browser.console_errors()
    browser.traffic()


def test_the_pages_work_without_the_internet(address: str, browser: Browser) -> None:
    """The service's address leads to the docs page with every operation and to the reference; nothing else is asked."""
    operations = operations_of(httpx.get(f"{address}/docs/openapi.json", timeout=60).json())

    forget(browser)
    browser.open(f"{address}/")
    eventually(lambda: browser.text("#state") == "ready", within=60)
    browser.click("main a[href='docs']")
    browser.text(f"{list(operations.values())[-1]} .opblock-summary-path")
    shown = zip(browser.texts(".opblock-summary-method"), browser.texts(".opblock-summary-path"), strict=True)
    assert [" ".join(parts).replace("\u200b", "") for parts in shown] == sorted_by_tag(operations, address)
    browser.click("a[href='redoc']")
    browser.text(REFERENCE)
    browser.click("a[href='guides']")
    browser.click("main a[href='guides/api/errors']")
    browser.click("main a[href='../api']")
    eventually(lambda: browser.text("h1") == "The API", within=60)
    assert_quiet(browser, address)


def sorted_by_tag(operations: dict[str, str], address: str) -> list[str]:
    """Return the operations in the order of the document's tags."""
    tags = [
        f"#operations-{tag['name']}-" for tag in httpx.get(f"{address}/docs/openapi.json", timeout=60).json()["tags"]
    ]
    return [operation for tag in tags for operation, element in operations.items() if element.startswith(tag)]


def test_every_operation_can_be_opened(page: RunningService, browser: Browser, operations: dict[str, str]) -> None:
    """Each operation, once opened, shows its answers in little space, its problems on one line for each status."""
    forget(browser)
    open_docs(browser, page.url, operations["GET /metrics"])
    heights = {}
    for name, operation in operations.items():
        browser.click(f"{operation} .opblock-summary-control")
        browser.text(f"{operation} .responses-table .response:not(.problem)")
        browser.text(f"{operation} .response.problem[data-code='default'] summary")
        heights[name] = browser.run("return document.querySelector(arguments[0]).offsetHeight", operation)
        rows = browser.run(
            "return [...document.querySelectorAll(arguments[0])].map(row => row.offsetHeight)",
            f"{operation} .response.problem",
        )
        assert rows, name
        # Close it: with all operations open at once the page takes minutes.
        browser.click(f"{operation} .opblock-summary-control")

    print(*(f"{height:6} {name}" for name, height in heights.items()), sep="\n")
    assert {name: height for name, height in heights.items() if height > LARGEST_OPENED} == {}
    assert_quiet(browser, page.url)


def test_a_problem_opens_to_its_example(page: RunningService, browser: Browser, operations: dict[str, str]) -> None:
    """The line of a status names its problem types, and opens to the example of each."""
    operation = operations["DELETE /models/{name}"]
    open_docs(browser, page.url, operation)
    browser.click(f"{operation} .opblock-summary-control")

    line = f"{operation} .response.problem[data-code='409']"
    assert browser.text(f"{line} summary").split(", ") == ["model-in-use", "model-locked"]
    browser.click(f"{line} summary")
    browser.click(f"{line} .problem-type summary")
    assert json.loads(browser.text(f"{line} pre"))["type"] == "urn:ocr-model-service:problem:model-in-use"


def test_nothing_dangerous_is_filled_in(page: RunningService, browser: Browser, operations: dict[str, str]) -> None:
    """A deletion that is tried without a choice has no name and is a dry run; a list is asked without conditions."""
    delete = operations["DELETE /models/{name}"]
    open_docs(browser, page.url, delete)
    browser.click(f"{delete} .opblock-summary-control")
    browser.click(f"{delete} .try-out__btn")
    assert (
        browser.run("return document.querySelector(arguments[0]).value", f"{delete} tr[data-param-name='name'] input")
        == ""
    )
    execute(browser, delete, name=MODEL)
    wait_for_status(browser, delete, "200")
    assert "dry_run=true" in browser.text(f"{delete} .curl")
    assert page.models_dir.joinpath(MODEL).exists()

    listing = operations["GET /models"]
    execute(browser, listing)
    wait_for_status(browser, listing, "200")
    assert "if-none-match" not in browser.text(f"{listing} .curl").lower()


def test_a_search_finds_operations(page: RunningService, browser: Browser, operations: dict[str, str]) -> None:
    """The search shows the operations whose path, summary, tag or description has all its words."""
    open_docs(browser, page.url, operations["GET /models"])
    browser.type(".operation-filter-input", "release memory")
    eventually(lambda: 0 < len(browser.texts(".opblock")) < 10, within=60)
    assert browser.texts(f"{operations['POST /engine/release']} .opblock-summary-path")


def test_a_lock_is_shown_only_where_a_key_is_needed(
    page: RunningService, browser: Browser, operations: dict[str, str]
) -> None:
    """A service without keys shows no locks and asks for no key."""
    open_docs(browser, page.url, operations["GET /models"])
    assert browser.texts(".authorization__btn") == browser.texts(".btn.authorize") == []


def test_a_name_with_a_slash_and_a_space_can_be_tried_out(address: str, browser: Browser) -> None:
    """ "Try it out" finds a model whose name has a slash and a space."""
    operation = operations_of(httpx.get(f"{address}/docs/openapi.json", timeout=60).json())["GET /models/{name}"]

    forget(browser)
    open_docs(browser, address, operation)
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
    operation = operations_of(service.client.get("/docs/openapi.json").json())["GET /models"]

    open_docs(browser, service.url, operation)
    assert len(browser.texts(f"{operation} .authorization__btn")) == 1
    execute(browser, operation)
    wait_for_status(browser, operation, "401")

    browser.click(".auth-wrapper .authorize")
    browser.type(".auth-container input", key)
    browser.click(".auth-container .authorize")
    browser.click(".auth-container .btn-done")
    execute(browser, operation)
    wait_for_status(browser, operation, "200")

    open_docs(browser, service.url, operation)
    execute(browser, operation)
    wait_for_status(browser, operation, "200")


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the script of axe-core."""
    return npm.install(tmp_path_factory.mktemp("axe"), AXE).joinpath("axe-core/axe.min.js").read_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", ["desktop", "phone"])
def test_everybody_can_read_the_page(
    page: RunningService,
    browser: Browser,
    operations: dict[str, str],
    axe: str,
    tmp_path: Path,
    screen: str,
    scheme: str,
) -> None:
    """No page is wider than the screen, and axe-core finds no serious problem, also in an operation that was tried."""
    pictures = Path(PICTURES or tmp_path)
    browser.use_screen(*(PHONE if screen == "phone" else DESKTOP), dark=scheme == "dark", phone=screen == "phone")
    last = {
        "": "#version",
        "redoc": REFERENCE,
        "guides": "main li",
        "guides/api/errors": "main table",
        "docs": f"{operations['GET /metrics']} .opblock-summary-path",
    }
    for name, element in last.items():
        browser.open(f"{page.url}/{name}")
        browser.text(element)
        browser.screenshot(pictures / f"{name.replace('/', '-') or 'home'}-{screen}-{scheme}.png")
        assert browser.run("return document.documentElement.scrollWidth - window.innerWidth") <= 0, name
        assert serious(browser, axe) == [], name
    for name, values in {"DELETE /models/{name}": {"name": MODEL}, "POST /ocr": {}}.items():
        operation = operations[name]
        browser.click(f"{operation} .opblock-summary-control")
        browser.click(f"{operation} .try-out__btn")
        if values:
            execute(browser, operation, **values)
            wait_for_status(browser, operation, "200")
        browser.click(f"{operation} .response.problem summary")
        browser.run("document.querySelector(arguments[0]).scrollIntoView()", operation)
        browser.screenshot(pictures / f"docs-{name.split()[0].lower()}-{screen}-{scheme}.png")
        assert browser.run("return document.documentElement.scrollWidth - window.innerWidth") <= 0, name
        assert serious(browser, axe) == [], name
        browser.click(f"{operation} .opblock-summary-control")


def serious(browser: Browser, axe: str) -> list[str]:
    """Return the serious and critical problems that axe-core finds in the page, each with an element that has it."""
    browser.run(axe)
    browser.run("window.axeResult = null; axe.run().then((found) => { window.axeResult = found; });")
    found = eventually(lambda: browser.run("return window.axeResult"), within=120)
    return [
        f"{each['id']}: {node['target']} {node['failureSummary']}"
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
        for node in each["nodes"]
    ]
