"""The commands of docs/operations.md run: each `bash` block, in order, beside a service."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.service import ECHO, ROOT, RunningService

PAGE = (ROOT / "docs" / "operations.md").read_text()
SECTION = re.compile(r"^## (.*)$", re.MULTILINE)
TASKS = ("Install", "Size", "Secure", "Licence", "Upgrade and roll back", "Air-gapped")


def blocks() -> list[tuple[str, str]]:
    """Return each `bash` block of the page with the heading of its section."""
    found = re.finditer(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [(SECTION.findall(PAGE[: block.start()])[-1], block[1]) for block in found]


def test_each_task_has_commands() -> None:
    """Each task with commands has a block that the test below runs."""
    assert {section for section, _ in blocks()} == set(TASKS)


@pytest.mark.slow
def test_each_command_runs(tmp_path: Path) -> None:
    """Each `bash` block ends with status 0, in one folder, with a service that runs."""
    (tmp_path / "models").mkdir()
    (tmp_path / "en_ocr_v2.bin").write_bytes(b"a model")
    with RunningService(tmp_path, engine_class=ECHO) as service:
        service.wait_until_ready().client.put("/models/a.bin", content=b"a").raise_for_status()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
        environment = inherited | {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "URL": service.url.rstrip("/"),
            "OCR_MODELS_DIR": str(service.models_dir),
            "OCR_STATE_DIR": str(service.state_dir),
        }
        for section, block in blocks():
            command = ["bash", "-e", "-u", "-o", "pipefail", "-c", block]
            done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{section}: {done.stdout}{done.stderr}"


@pytest.mark.parametrize("anchor", re.findall(r"\]\(#([\w-]+)\)", PAGE))
def test_each_link_within_the_page_has_its_heading(anchor: str) -> None:
    """Each link to a section of the page names a heading."""
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
