"""The commands and answers of README.md are those of the service."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.clients.consoles import check_answers, steps
from tests.support.service import ROOT, RunningService

README = (ROOT / "README.md").read_text()


def test_each_curl_answers_what_the_readme_shows(tmp_path: Path) -> None:
    """Each curl of the README, run in order on a fresh service, returns the answer that the README shows.

    The service has the example files of the Makefile.
    """
    subprocess.run(["make", "-s", "-f", ROOT / "Makefile", "examples"], cwd=tmp_path, check=True)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    curls = [(command, answer) for command, answer in steps(README) if command.startswith("curl")]
    assert len(curls) >= 4

    with RunningService(tmp_path / "data") as service:
        check_answers(curls, service.url, tmp_path, lambda _: service.wait_until_ready())


def test_the_container_s_commands_name_what_is_there() -> None:
    """Each `docker compose` line has the one Compose file, its service, and the key that its first start makes.

    tests/deploy/test_compose.py runs that start.
    """
    commands = [shlex.split(command) for command, _ in steps(README) if command.startswith("docker ")]
    compose = ["docker", "compose", "-f", "deploy/compose.yaml"]
    up, read_key = (command[4:] for command in commands if command[:4] == compose)
    assert (len(commands), up[:2]) == (2, ["up", "--build"])
    verb, service, program, key_file = read_key
    described = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"][service]

    assert (verb, program) == ("exec", "cat")
    assert f">{key_file}\n" in described["command"][-1]


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
