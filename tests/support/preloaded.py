"""Compiles C libraries that tests load into processes by LD_PRELOAD, in place of calls of the C library."""

import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

COMPILE = ("cc", "-Wall", "-Wextra", "-Werror", "-U_FORTIFY_SOURCE", "-shared", "-fPIC", "-O1")
LIBRARIES = ("-ldl", "-lpthread")


def library(source: Path) -> Path:
    """Return the path of a library; compile it if needed. Without a compiler, skip the test."""
    key = hashlib.sha256(source.read_bytes() + " ".join([*COMPILE, *LIBRARIES]).encode()).hexdigest()[:16]
    compiled = Path(tempfile.gettempdir()) / f"{source.stem}-{os.getuid()}-{key}.so"
    if compiled.exists():
        return compiled
    if shutil.which("cc") is None:
        pytest.skip(f"there is no C compiler (cc) to build {source.name} with")
    draft = compiled.with_suffix(f".{os.getpid()}")
    subprocess.run([*COMPILE, "-o", draft, source, *LIBRARIES], check=True)
    draft.rename(compiled)  # atomic, because other tests may compile at the same time
    return compiled
