"""Processes that see a folder as a client of a network file system does: names, attributes and lists from a memory.

`aged.c` says what is remembered, and for how long. It is compiled when the first test asks for it.
"""

import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Self

import pytest

from tests.support.service import ROOT

SOURCE = Path(__file__).with_name("aged.c")
COMPILE = ("cc", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-O1")
LIBRARIES = ("-ldl", "-lpthread")


def library() -> Path:
    """The library, compiled unless it was before; skips the test where there is no compiler, and fails it in CI."""
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join([*COMPILE, *LIBRARIES]).encode()).hexdigest()[:16]
    compiled = Path(tempfile.gettempdir()) / f"aged-{os.getuid()}-{key}.so"
    if compiled.exists():
        return compiled
    if shutil.which("cc") is None:
        if os.environ.get("CI"):
            pytest.fail("there is no C compiler (cc), and CI needs one for tests/support/aged")
        pytest.skip("there is no C compiler (cc) to build tests/support/aged with")
    draft = compiled.with_suffix(f".{os.getpid()}")
    subprocess.run([*COMPILE, "-o", draft, SOURCE, *LIBRARIES], check=True)
    draft.rename(compiled)  # whole at once, for whoever compiles at the same moment
    return compiled


def environment(**settings: object) -> dict[str, str]:
    """That of a process with the library; `root="x"` is AGED_ROOT=x."""
    aged = {f"AGED_{name.upper()}": str(value) for name, value in settings.items()}
    return os.environ | aged | {"LD_PRELOAD": str(library())}


class Child:
    """A process with the library that answers each line of JSON with one. A context manager that ends it."""

    def __init__(self, *command: str, **settings: object) -> None:
        """`command` is what comes after `python`."""
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
        """Whether it still answers."""
        return self._process.poll() is None

    def send(self, message: object) -> None:
        """Tell it something; `receive()` what it answers."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Its next answer."""
        assert self._process.stdout
        answer = self._process.stdout.readline()
        assert answer, f"the child ended with status {self._process.wait(timeout=10)}"
        return json.loads(answer)


class AgedPython(Child):
    """A Python that evaluates expressions. `evaluating.py` says what is there for them."""

    def __init__(self, **settings: object) -> None:
        # By its path: as a module it would import what this package needs, which takes longer than all else it does.
        super().__init__(str(Path(__file__).with_name("evaluating.py")), **settings)

    def __call__(self, expression: str, **names: object) -> Any:
        """What it comes to, as JSON has it; raises the OSError that it raises. Names may be given values for it."""
        self.send([expression, names])
        answer = self.receive()
        if "errno" in answer:
            raise OSError(answer["errno"], os.strerror(answer["errno"]))
        return answer["value"]

    def let_pass(self, seconds: float) -> None:
        """Let what it remembers grow older, without waiting."""
        self(f"library.aged_pass(ctypes.c_double({seconds}))")
