"""Processes that see a folder as a client of a network file system does: through cached names, attributes and lists.

`aged.c` is the library that does this; its head explains what is cached and for how long. The first test compiles it.
"""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Self

from tests.support.preloaded import library
from tests.support.service import ROOT

SOURCE = Path(__file__).with_name("aged.c")


def environment(**settings: object) -> dict[str, str]:
    """Return the environment of a process with the library. `root="x"` is AGED_ROOT=x."""
    aged = {f"AGED_{name.upper()}": str(value) for name, value in settings.items()}
    return os.environ | aged | {"LD_PRELOAD": str(library(SOURCE))}


class Child:
    """A process with the library that answers each line of JSON with one line. Use it as a context manager."""

    def __init__(self, *command: str, **settings: object) -> None:
        """`command` are the arguments of `python`."""
        self._process = subprocess.Popen(
            [sys.executable, *command],
            cwd=ROOT,
            env=environment(**settings),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    @property
    def is_alive(self) -> bool:
        """True if the process is still running."""
        return self._process.poll() is None

    def send(self, message: object) -> None:
        """Send a message; `receive()` returns the answer."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Return the next answer."""
        assert self._process.stdout
        answer = self._process.stdout.readline()
        assert answer, f"the child ended with status {self._process.wait(timeout=60)}"
        return json.loads(answer)


class AgedPython(Child):
    """A Python process with the library that evaluates expressions. `evaluating.py` lists the known names."""

    def __init__(self, **settings: object) -> None:
        # Started by its path: as a module it would import this package's own imports, which takes most of its time.
        super().__init__(str(Path(__file__).with_name("evaluating.py")), **settings)

    def __call__(self, expression: str, **names: object) -> Any:
        """Evaluate an expression with additional names and return its JSON value. Raises the OSError that it raises."""
        self.send([expression, names])
        answer = self.receive()
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer["value"]

    def let_pass(self, seconds: float) -> None:
        """Let the cache of the process grow older by some seconds, without waiting."""
        self(f"library.aged_pass(ctypes.c_double({seconds}))")
