"""The commands and answers of README.md are those of the service."""

import re
import subprocess
from pathlib import Path

import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support import tiny_gguf
from tests.support.pictures import page
from tests.support.service import ROOT, RunningService

README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```console\n(.*?)```", README, re.DOTALL)


def shown() -> list[tuple[str, str]]:
    """Return each command of the README with its answer, in order, without the README's line breaks."""
    steps = []
    for block in BLOCKS:
        for command, answer in re.findall(r"^\$ (.*?)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            steps.append((command, re.sub(r"\n\s*", "", answer)))
    return steps


def test_each_curl_answers_what_the_readme_shows(tmp_path: Path) -> None:
    """Each curl of the README, run in order on a fresh service, returns the answer that the README shows.

    The service has the example files of the Makefile, and a tiny model instead of the one of 2 GB for the spell check.
    An ellipsis in an answer stands for any text.
    """
    subprocess.run(["make", "-s", "-f", ROOT / "Makefile", "data/models"], cwd=tmp_path, check=True)
    curls = [(command, answer) for command, answer in shown() if command.startswith("curl")]
    assert len(curls) >= 6
    page("Invoice total 12.50 EUR", "Thank you for your order").save(tmp_path / "page.png")

    with RunningService(tmp_path / "data") as service:
        for command, answer in curls:
            if "/ai/" in command:
                tiny_gguf.write(service.models_dir / DEFAULT_MODEL)
            service.wait_until_ready()
            here = command.replace("127.0.0.1:8000", service.url.removeprefix("http://"))
            real = subprocess.run(["sh", "-c", here], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
            pattern = ".*?".join(re.escape(part) for part in answer.split("…"))
            assert re.fullmatch(pattern, real), f"{command}\nshows   {answer}\nanswers {real}"


def test_every_make_target_in_the_readme_exists() -> None:
    """The Makefile has every target that the README names."""
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:^\$ |`)make ([a-z-]+)", README, re.MULTILINE))

    assert {"serve", "test"} <= targets
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("path", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"], ids=lambda path: path.name)
def test_every_relative_link_exists(path: Path) -> None:
    """Every relative link of the README and the docs names an existing file."""
    for link in re.findall(r"\]\((?!https?:)([^)#]+)", path.read_text()):
        assert (path.parent / link).exists(), link
