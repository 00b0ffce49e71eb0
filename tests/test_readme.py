"""The commands and answers of README.md are those of the service."""

import re
import subprocess
from pathlib import Path

import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support import tiny_gguf
from tests.support.consoles import check_answers, steps
from tests.support.service import ROOT, RunningService

README = (ROOT / "README.md").read_text()


def test_each_curl_answers_what_the_readme_shows(tmp_path: Path) -> None:
    """Each curl of the README, run in order on a fresh service, returns the answer that the README shows.

    The service has the example files of the Makefile, and a tiny model instead of the one of 2 GB for the spell check.
    """
    subprocess.run(["make", "-s", "-f", ROOT / "Makefile", "examples"], cwd=tmp_path, check=True)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    curls = [(command, answer) for command, answer in steps(README) if command.startswith("curl")]
    assert len(curls) >= 6

    with RunningService(tmp_path / "data") as service:

        def prepare(command: str) -> None:
            if "/ai/" in command:
                tiny_gguf.write(service.models_dir / DEFAULT_MODEL)
            service.wait_until_ready()

        check_answers(curls, service.url, tmp_path, prepare)


def test_every_make_target_in_the_readme_exists() -> None:
    """The Makefile has every target that the README names."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", README, re.MULTILINE))

    assert {"serve", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("path", [*sorted(ROOT.glob("docs/**/*.md")), ROOT / "README.md"], ids=lambda path: path.name)
def test_every_relative_link_exists(path: Path) -> None:
    """Every relative link of the README and the docs names an existing file."""
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / link).exists(), link
