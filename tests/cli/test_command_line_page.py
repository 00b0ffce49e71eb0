"""docs/command-line.md has every command with its options, and shell completion works as it says."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator

import click
import pytest

from app import __version__
from app.cli.main import main
from tests.support.fork_server import run_command
from tests.support.service import ROOT

PAGE = (ROOT / "docs/command-line.md").read_text()
OF_MOST = {"--url", "--key-file"}


def commands(group: click.Group = main, before: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield each command with its full name."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{before}{name} ")
        else:
            yield before + name, command


def rows() -> dict[str, list[str]]:
    """Return the cells of the table of commands, by command."""
    table = PAGE.partition("\n## Commands\n")[2].partition("\n## ")[0]
    found: dict[str, list[str]] = {}
    for line in re.findall(r"^\| (`.+) \|$", table, re.MULTILINE):
        cells = re.split(r"\s*\|\s*", line)
        found |= dict.fromkeys(re.findall(r"`([^`]+)`", cells[0]), cells)
    return found


def options(command: click.Command) -> set[str]:
    """Return the options of a command."""
    every = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return {name for parameter in every for name in (*parameter.opts, *parameter.secondary_opts)}


def test_the_page_has_every_command_and_no_other() -> None:
    """The table has a row for each command of the tree."""
    assert set(rows()) == dict(commands()).keys()


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda each: each if isinstance(each, str) else "")
def test_the_page_has_the_options_of_each_command(name: str, command: click.Command) -> None:
    """A row has the options of its command, and where it works."""
    cells = rows()[name]
    named = set(re.findall(r"`(--[a-z0-9-]+)`", cells[2])) - {"--json"}
    actual = options(command)

    assert named == actual - OF_MOST - {"--json"}
    assert (cells[3] != "folder") == (actual >= OF_MOST)
    assert ("--json" in actual) == ("no `--json`" not in cells[2] and (cells[3] != "folder" or "`--json`" in cells[2]))


@pytest.mark.parametrize(("name", "command"), list(commands()), ids=lambda each: each if isinstance(each, str) else "")
def test_each_command_and_option_has_a_help(name: str, command: click.Command) -> None:
    """`--help` says what each command does in a sentence."""
    assert re.search(r"\w.*\.", command.help or ""), name


def test_the_version_is_printed() -> None:
    """`--version` prints the version of the package."""
    assert run_command(["--version"], os.environ).stdout == f"ocr-models {__version__}\n"


def test_the_shell_completes_commands() -> None:
    """With the variable of the page, the command prints the completions of `mod`."""
    assert "_OCR_MODELS_COMPLETE=bash_source" in PAGE
    completing = {"_OCR_MODELS_COMPLETE": "bash_complete", "COMP_WORDS": "ocr-models mod", "COMP_CWORD": "1"}
    code = "import sys; sys.argv[0] = 'ocr-models'; from app.cli.main import main; main()"

    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=os.environ | completing, capture_output=True, text=True, check=False
    )

    assert done.stdout == "plain,models\n"
