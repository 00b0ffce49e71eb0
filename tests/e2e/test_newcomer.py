"""A fresh clone on a machine that has only Python and make."""

import os
import signal
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support.processes import free_port
from tests.support.service import ROOT
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def answers(url: str, path: str) -> httpx.Response | None:
    """Return the answer to a GET; None if nothing listens."""
    try:
        return httpx.get(url + path, timeout=60)
    except httpx.TransportError:
        return None


def test_make_serve_in_a_fresh_clone_sets_everything_up(tmp_path: Path) -> None:
    """`make serve` installs and provisions everything, creates example models, and serves; a second run is quick."""
    subprocess.run(["git", "clone", "--quiet", ROOT, tmp_path / "clone"], check=True)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    for _ in range(2):
        make = subprocess.Popen(
            ["make", "serve"], cwd=tmp_path / "clone", env=os.environ | {"OCR_PORT": str(port)}, start_new_session=True
        )
        try:
            eventually(lambda: (ready := answers(url, "/readyz")) and ready.status_code == 200, within=300)
            listed = httpx.get(f"{url}/models", timeout=60).json()
            assert [model["name"] for model in listed["models"]] == ["en_ocr_v2.bin", "old_en_ocr_v1.bin"]
            capabilities = httpx.get(f"{url}/engine", timeout=60).json()["capabilities"]
            assert [capability["name"] for capability in capabilities if not capability["available"]] == []
        finally:
            os.killpg(make.pid, signal.SIGTERM)
            make.wait(timeout=120)
        eventually(lambda: answers(url, "/livez") is None)
