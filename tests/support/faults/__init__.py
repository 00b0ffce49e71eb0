"""A service whose disk fails on demand: chosen calls end with a chosen error number, for the model folder only.

`faults.c` is the preloaded library that does it. A real disk cannot be made to fail with each number, and at each call.
"""

import hashlib
import mmap
import os
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SOURCE = Path(__file__).with_name("faults.c")
COMPILE = ("cc", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-O1")
LAYOUT = struct.Struct("=iiii16s8s256s")  # `struct control` in faults.c
FOREVER = -1


def library() -> Path:
    """Return the path of the library; compile it if needed. Without a compiler, skip the test, or fail it in CI."""
    key = hashlib.sha256(SOURCE.read_bytes() + " ".join(COMPILE).encode()).hexdigest()[:16]
    compiled = Path(tempfile.gettempdir()) / f"faults-{os.getuid()}-{key}.so"
    if compiled.exists():
        return compiled
    if shutil.which("cc") is None:
        if os.environ.get("CI"):
            pytest.fail("there is no C compiler (cc), and CI needs one for tests/support/faults")
        pytest.skip("there is no C compiler (cc) to build tests/support/faults with")
    draft = compiled.with_suffix(f".{os.getpid()}")
    subprocess.run([*COMPILE, "-o", draft, SOURCE, "-ldl"], check=True)
    draft.rename(compiled)  # atomic, because other tests may compile at the same time
    return compiled


class Faults:
    """Switches faults of one service on and off."""

    def __init__(self, folder: Path, root: Path) -> None:
        """`folder` is for the control file; faults are below `root`."""
        self._file = folder / "faults"
        self._file.write_bytes(bytes(LAYOUT.size))
        self._root = root
        with self._file.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), LAYOUT.size)

    @property
    def wrapper(self) -> tuple[str, ...]:
        """The wrapper for a `RunningService` that has these faults."""
        settings = {"LD_PRELOAD": library(), "FAULTS_ROOT": self._root, "FAULTS_CONTROL": self._file}
        return ("env", *(f"{name}={value}" for name, value in settings.items()))

    @property
    def struck(self) -> int:
        """How often the present fault has struck, or the last one."""
        return int(LAYOUT.unpack(self._control)[2])

    @contextmanager
    def on(
        self, call: str, number: int, kind: str = "", part: str = "", *, strikes: int = FOREVER, late: bool = False
    ) -> Iterator[None]:
        """Let a call fail during a `with` block.

        `kind` is `file`, `folder` or empty for both; `part` is a part of the path; `strikes` is how often it fails.
        With `late` the call is made, and then reported as failed.
        """
        fields = LAYOUT.pack(0, strikes, 0, late, call.encode(), kind.encode(), part.encode())
        self._control[:] = fields
        self._control[:4] = struct.pack("=i", number)  # last, so that no call sees half of the others
        try:
            yield
        finally:
            self._control[:4] = bytes(4)
