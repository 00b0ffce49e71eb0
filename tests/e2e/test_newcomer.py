"""A fresh clone on a machine that has only Python and make."""

import os
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import httpx
import pytest

from app import __version__
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


def test_an_installed_package_has_the_command(tmp_path: Path) -> None:
    """An installation in a venv of its own, as pipx makes one, has `ocr-models`, which works outside the checkout."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    python = tmp_path / "venv/bin/python"
    # The dependencies are those of this environment: installing them again would take minutes.
    (packages,) = (tmp_path / "venv/lib").glob("python*/site-packages")
    (packages / "dependencies.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    install = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps", "--python", str(python), str(ROOT)]
    subprocess.run(install, check=True)
    (tmp_path / "models").mkdir()
    command, environment = tmp_path / "venv/bin/ocr-models", os.environ | {"OCR_MODELS_DIR": str(tmp_path / "models")}

    def run(*arguments: str) -> str:
        done = subprocess.run(
            [command, *arguments], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout

    assert run("--version") == f"ocr-models {__version__}\n"
    assert run("models", "path") == f"{tmp_path}/models\n"
    about = "from importlib.metadata import metadata; print(metadata('ocr-model-service').json['author'])"
    written = subprocess.run([python, "-c", about], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert written == "The OCR model service developers\n"
