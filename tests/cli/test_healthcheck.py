"""`healthcheck`: what the image's health check runs, for each kind of OCR_HOST."""

import http.server
import os
import subprocess
import threading
from urllib.parse import urlsplit

import pytest

from tests.conftest import Serve
from tests.support.fork_server import run_command
from tests.support.processes import free_port
from tests.support.service import ECHO


def check(**settings: object) -> subprocess.CompletedProcess[str]:
    """Run `healthcheck` with exactly these settings."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
    return run_command(
        ["healthcheck"], environment | {f"OCR_{name.upper()}": str(value) for name, value in settings.items()}
    )


@pytest.mark.parametrize(
    "settings",
    [
        {"host": "0.0.0.0", "allow_anonymous": "true"},
        {"host": "::", "allow_anonymous": "true"},
        {"host": "localhost"},
        {"host": "127.0.0.3", "root_path": "/ocr-models", "allowed_hosts": "ocr.example,127.0.0.3"},
    ],
    ids=lambda settings: settings["host"],
)
def test_a_service_is_healthy_on_every_host(serve: Serve, settings: dict[str, str]) -> None:
    """A service that listens on every address, a name or one address is healthy, also with a prefix and host names."""
    service = serve(engine_class=ECHO, **settings)
    port = urlsplit(service.url).port

    checked = check(port=port, **settings)

    assert checked.returncode == 0, checked.stderr
    assert "/livez answers 200" in checked.stdout


def test_a_port_where_no_service_listens_is_unhealthy() -> None:
    """Without a service on the port the exit status is 1, and stderr has the reason."""
    port = free_port()
    checked = check(port=port)

    assert (checked.returncode, checked.stdout) == (1, "")
    assert f"http://127.0.0.1:{port}/livez does not answer" in checked.stderr


def test_another_server_on_the_port_is_unhealthy() -> None:
    """A server that answers /livez with another status is unhealthy."""
    with http.server.HTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        try:
            checked = check(port=other.server_port)
        finally:
            other.shutdown()

    assert checked.returncode == 1
    assert "/livez answers 501" in checked.stderr


def test_a_port_that_nobody_knows_is_a_wrong_setting() -> None:
    """OCR_PORT=0 cannot be checked, and the message says so."""
    checked = check(port=0)

    assert checked.returncode == 2
    assert "OCR_PORT=0" in checked.stderr
