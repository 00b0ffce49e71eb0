"""The questions before something is deleted that cannot be restored."""

import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.test_models import run
from tests.support.service import ROOT
from tests.support.waiting import eventually


def answered(folder: Path, answer: str, *arguments: str) -> tuple[int, str]:
    """Run a command at a terminal, answer its question, and return its exit status and what the terminal showed."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=ROOT,
        env=os.environ | {"OCR_MODELS_DIR": str(folder)},
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    shown = ""

    def asks() -> bool:
        nonlocal shown
        shown += os.read(master, 4096).decode()
        return "[y/N]" in shown

    try:
        eventually(asks, within=60)
        os.write(master, f"{answer}\n".encode())
        return process.wait(timeout=60), shown
    finally:
        process.kill()
        process.wait()
        os.close(master)


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
