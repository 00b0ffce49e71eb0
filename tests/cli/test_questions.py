"""The questions before something is deleted that cannot be restored."""

from pathlib import Path

import pytest

from tests.cli.terminals import at_terminal
from tests.cli.test_models import run
from tests.support.service import ROOT


def answered(folder: Path, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command at a terminal, answer its question, and return its exit status and what the terminal showed."""
    with at_terminal(*arguments, folder=ROOT, environment={"OCR_MODELS_DIR": str(folder)}) as terminal:
        terminal.wait_for("[y/N]")
        terminal.type(f"{answer}\n")
        return terminal.process.wait(timeout=60), terminal.shown


@pytest.mark.parametrize("command", [("trash", "empty"), ("trash", "purge", "2")])
def test_a_terminal_is_asked_before_a_purge(tmp_path: Path, command: tuple[str, ...]) -> None:
    """The entries and their size are shown; anything but `y` keeps them, `y` deletes them."""
    (tmp_path / "a.bin").write_bytes(b"12345")
    run(tmp_path, "models", "delete", "a.bin")
    trash = tmp_path / ".store/trash"

    status, shown = answered(tmp_path, "n", *command)
    assert (status, "a.bin" in shown, "1 entries, 5 B" in shown) == (0, True, True)
    assert len(list(trash.glob("*.json"))) == 1

    assert answered(tmp_path, "y", *command)[0] == 0
    assert list(trash.glob("*.json")) == []
