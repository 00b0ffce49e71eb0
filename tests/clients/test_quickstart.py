"""The commands and programs of docs/quickstart.md, as they stand on the page."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.clients.toolchain import Toolchain
from tests.support.clients.consoles import check_answers, steps
from tests.support.service import ROOT, RunningService
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

PAGE = (ROOT / "docs" / "quickstart.md").read_text()
TEXT = "Harbour Road Bookshop"
TOP_OF_PAGE = (0, 0, 760, 170)
"""The box of the first three lines of the sample page, in pixels. Of two, the engine cuts the first."""


def blocks(language: str) -> list[str]:
    """Return the blocks of the page in a language, in order."""
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service as `make serve` does, but with an engine that gives every image the same text at once."""
    folder = tmp_path_factory.mktemp("clone")
    subprocess.run(["make", "-s", "-f", ROOT / "Makefile", "examples"], cwd=folder, check=True)
    (folder / "docs").symlink_to(ROOT / "docs")
    with RunningService(
        folder, models_dir=folder / "data/models", engine_class="tests.clients.engines:Same"
    ) as running:
        yield running.wait_until_ready()


def here(block: str, service: RunningService) -> str:
    return block.replace("127.0.0.1:8000", service.url.removeprefix("http://"))


def run(command: list[str], folder: Path) -> str:
    """Run a command in a folder and return its output. Fails with the command's messages if it fails."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_make_serve_is_the_only_command_before_the_languages() -> None:
    """The page begins with `make serve`, which tests/e2e/test_newcomer.py runs in a fresh clone."""
    assert [command for command, _ in steps(PAGE.partition("## curl")[0])] == ["make serve"]


@pytest.mark.skipif(not (ROOT / "native").is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1")
def test_curl_with_the_real_engine(tmp_path: Path) -> None:
    """The real engine reads the sample page at once and in a job.

    It gets only the top of the page: three recognitions of the whole page take 30 seconds of CPU, and minutes on a busy
    machine.
    """
    (tmp_path / "docs").mkdir()
    with Image.open(ROOT / "docs" / "sample-page.png") as page:
        page.crop(TOP_OF_PAGE).save(tmp_path / "docs" / "sample-page.png")
    with RunningService(tmp_path, native_dir=ROOT / "native") as service:
        eventually(lambda: service.client.get("/readyz").status_code == 200, within=300)
        check_answers(steps(PAGE.partition("## curl")[2]), service.url, tmp_path, lambda _: None)
        (block,) = blocks("sh")
        output = run(["sh", "-ec", here(block, service)], tmp_path)
    assert '"final":true' in output
    assert output.count(TEXT) >= 2, output


def test_python(service: RunningService) -> None:
    """The program prints the page's text, follows the job to its end, and prints the text of each file."""
    (block,) = blocks("python")
    output = run([sys.executable, "-c", here(block, service)], service.folder)
    assert output.splitlines()[0] == TEXT
    assert output.splitlines()[-3:] == ["succeeded 2 of 2", f"one.png {TEXT}", f"two.png {TEXT}"]


def test_javascript(toolchain: Toolchain, service: RunningService) -> None:
    """The programs do in JavaScript what that of Python does, and upload a model."""
    page, upload = blocks("js")
    (service.folder / "page.mjs").write_text(here(page, service))
    (service.folder / "upload.mjs").write_text(here(upload, service))
    (service.folder / "node_modules").symlink_to(toolchain.node_modules)

    output = toolchain.run(service.folder, "node", "page.mjs").splitlines()
    assert output[0] == TEXT
    assert output[-3:] == ["succeeded 2 of 2", f"one.png {TEXT}", f"two.png {TEXT}"]

    assert toolchain.run(service.folder, "node", "upload.mjs").splitlines()[-1] == "uploaded"
    uploaded = service.models_dir / "uploaded" / "en_ocr_v2.bin"
    assert uploaded.read_bytes() == (service.models_dir / "en_ocr_v2.bin").read_bytes()
