"""A headless Chromium that can reach only 127.0.0.1, driven by WebDriver (JSON over HTTP)."""

import base64
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

import httpx

from tests.support.waiting import eventually

FLAGS = (
    "--headless",
    "--no-sandbox",  # CI's containers run as root, where Chromium's sandbox does not start
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
    "--window-size=1280,1400",
)
PATIENCE_SECONDS = 120
"""How long a page may take on a busy machine."""
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""The key of an element's id in WebDriver's JSON, as the WebDriver standard defines it."""


class Browser:
    """A Chromium with a new profile. As a context manager, it starts Chromium and ends it."""

    def __init__(self, folder: Path) -> None:
        self._chromium, self._chromedriver = _installed("chromium"), _installed("chromedriver")
        self._profile = folder / "chromium"
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._driver: subprocess.Popen[bytes]
        self._client = httpx.Client(timeout=2 * PATIENCE_SECONDS, trust_env=False)
        self._session = ""

    def __enter__(self) -> "Browser":
        self._driver = subprocess.Popen([self._chromedriver, "--port=0"], stdout=self._log, stderr=self._log)
        try:
            self._client.base_url = httpx.URL(f"http://127.0.0.1:{eventually(self._find_port, within=20)}")
            self._open_session()
            self._leave_start_page()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._call("DELETE", "")
        finally:
            self._end()

    def open(self, url: str) -> None:
        """Open a URL and wait for the page's load event."""
        self._call("POST", "/url", url=url)

    def run(self, script: str, *arguments: object) -> Any:
        """Run a script in the page and return its result."""
        return self._call("POST", "/execute/sync", script=script, args=arguments)

    def texts(self, selector: str) -> list[str]:
        """Return the text of every element that matches the CSS selector now."""
        return list(
            self.run("return [...document.querySelectorAll(arguments[0])].map(found => found.innerText)", selector)
        )

    def text(self, selector: str) -> str:
        """Return the text of the first element that matches; wait until it has a text."""
        return eventually(lambda: "".join(self.texts(selector)[:1]).strip(), within=PATIENCE_SECONDS)

    def click(self, selector: str) -> None:
        """Wait for the element, scroll to it and click it."""
        element = self._find(selector)
        self.run("arguments[0].scrollIntoView({block: 'center'})", {ELEMENT: element})
        self._call("POST", f"/element/{element}/click")

    def type(self, selector: str, text: str) -> None:
        """Replace the text of an input field."""
        element = self._find(selector)
        self._call("POST", f"/element/{element}/clear")
        self._call("POST", f"/element/{element}/value", text=text)

    def use_screen(self, width: int, height: int, *, dark: bool = False, phone: bool = False) -> None:
        """Show pages on a screen of this size in CSS pixels, in the light or the dark scheme, as a phone or not."""
        self._devtools(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=phone
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._devtools("Emulation.setEmulatedMedia", features=[scheme])

    def screenshot(self, path: Path) -> None:
        """Write a picture of what the screen shows, as PNG."""
        path.write_bytes(base64.b64decode(self._devtools("Page.captureScreenshot", format="png")["data"]))

    def console_errors(self) -> list[str]:
        """Return the console's errors since the last call: exceptions, policy violations, failed requests."""
        entries = self._call("POST", "/se/log", type="browser")
        return [entry["message"] for entry in entries if entry["level"] == "SEVERE"]

    def traffic(self) -> "Traffic":
        """Return the requests of the pages since the last call."""
        return Traffic(
            json.loads(entry["message"])["message"] for entry in self._call("POST", "/se/log", type="performance")
        )

    def _devtools(self, command: str, **parameters: object) -> Any:
        return self._call("POST", "/goog/cdp/execute", cmd=command, params=parameters)

    def _open_session(self) -> None:
        options = {"binary": self._chromium, "args": [*FLAGS, f"--user-data-dir={self._profile}"]}
        capabilities = {
            "browserName": "chrome",
            "goog:chromeOptions": options,
            "timeouts": {"script": PATIENCE_SECONDS * 1000, "pageLoad": PATIENCE_SECONDS * 1000},
            "goog:loggingPrefs": {"browser": "ALL", "performance": "ALL"},
        }
        answer = self._client.post("/session", json={"capabilities": {"alwaysMatch": capabilities}})
        assert answer.is_success, f"Chromium did not start: {answer.text}"
        self._session = f"/session/{answer.json()['value']['sessionId']}"

    def _leave_start_page(self) -> None:
        # Debian's Chromium begins with a search engine's page, whose requests must not count.
        self.open("about:blank")
        self.console_errors()
        self.traffic()

    def _find(self, selector: str) -> str:
        def find() -> list[dict[str, str]]:
            return list(self._call("POST", "/elements", using="css selector", value=selector))

        return eventually(find, within=PATIENCE_SECONDS)[0][ELEMENT]

    def _call(self, method: str, path: str, **body: object) -> Any:
        answer = self._client.request(method, self._session + path, json=body if method == "POST" else None)
        assert answer.is_success, f"{method} {path} {body}: {answer.text}"
        return answer.json()["value"]

    def _find_port(self) -> str | None:
        log = self._log_text()
        assert self._driver.poll() is None, f"chromedriver ended with status {self._driver.returncode}:\n{log}"
        found = re.search(r"started successfully on port (\d+)", log)
        return found[1] if found else None

    def _log_text(self) -> str:
        self._log.seek(0)
        return self._log.read().decode()

    def _end(self) -> None:
        self._client.close()
        self._driver.terminate()
        self._driver.wait(timeout=120)
        self._log.close()


class Traffic:
    """The requests of a page and their failures, read from events of the DevTools protocol."""

    def __init__(self, events: Iterator[dict[str, Any]]) -> None:
        self._urls: dict[str, str] = {}
        self.failures: list[str] = []
        """Requests without an answer, and answers with an error status."""
        for event in events:
            self._note(event["method"], event["params"])

    @property
    def origins(self) -> set[str]:
        """The origins of all URLs that the page requested; `data:` and `blob:` URLs are of the page itself."""
        parts = (urlsplit(url) for url in self._urls.values() if not url.startswith(("data:", "blob:")))
        return {f"{part.scheme}://{part.netloc}" for part in parts}

    def _note(self, method: str, params: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self._urls[params["requestId"]] = params["request"]["url"]
        elif method == "Network.loadingFailed":
            self.failures.append(f"{self._urls.get(params['requestId'])}: {params['errorText']}")
        elif method == "Network.responseReceived" and params["response"]["status"] >= 400:
            self.failures.append(f"{params['response']['url']}: {params['response']['status']}")


def _installed(command: str) -> str:
    path = shutil.which(command)
    assert path, f"{command} is not installed. On Debian: apt-get install chromium chromium-driver"
    return path
