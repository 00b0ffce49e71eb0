"""Commands at a real terminal."""

import codecs
import os
import pty
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import eventually


class Terminal:
    """A terminal at which a command runs."""

    def __init__(self, master: int, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        self.shown = ""
        """What the command has printed until the last `wait_for`."""
        self._master = master
        self._decoder = codecs.getincrementaldecoder("utf-8")()  # a read may end within a character

    def wait_for(self, text: str) -> None:
        """Read until the command has printed a text."""

        def is_shown() -> bool:
            self.shown += self._decoder.decode(os.read(self._master, 4096))
            return text in self.shown

        eventually(is_shown, within=60)

    def type(self, text: str) -> None:
        """Send a text to the command."""
        os.write(self._master, text.encode())


@contextmanager
def at_terminal(*arguments: str, folder: Path, environment: Mapping[str, str]) -> Iterator[Terminal]:
    """Run a command of this project in a folder, with a terminal for its input and output; end it after the block."""
    master, slave = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "app", *arguments],
        cwd=folder,
        env=os.environ | environment,
        stdin=slave,
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        process.terminate()
        process.wait(timeout=60)
        os.close(master)
