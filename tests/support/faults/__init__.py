"""A service whose disk fails on demand: chosen calls end with a chosen error number, for the model folder only.

`faults.c` is the preloaded library that does it. A real disk cannot be made to fail with each number, and at each call.
"""

import mmap
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.preloaded import library

SOURCE = Path(__file__).with_name("faults.c")
LAYOUT = struct.Struct("=iiii16s8s256s")  # `struct control` in faults.c
FOREVER = -1


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
        settings = {"LD_PRELOAD": library(SOURCE), "FAULTS_ROOT": self._root, "FAULTS_CONTROL": self._file}
        return ("env", *(f"{name}={value}" for name, value in settings.items()))

    @property
    def struck(self) -> int:
        """How many calls the present fault has made fail; if no fault is on, the last one."""
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
