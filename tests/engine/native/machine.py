"""A machine without package managers, on which `python -m app provision` runs."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.service import ROOT

BY_HAND = {
    "openssl": ("libssl.so.1.1", "libcrypto.so.1.1"),
    "llama": ("libllama.so", "libggml.so", "libggml-base.so", "libggml-cpu-x64.so"),
}


class Machine:
    """A machine with an empty native folder, and no programs except those that a test installs."""

    def __init__(self, folder: Path) -> None:
        self.native = folder / "native"
        self.programs = folder / "bin"
        self.programs.mkdir()

    def has(self, name: str, script: str) -> None:
        """Install a program with a shell script."""
        program = self.programs / name
        program.write_text(f"#!/bin/sh\n{script}\n")
        program.chmod(0o755)

    def fill_by_hand(self, *parts: str) -> None:
        """Create the libraries of some parts, as a user without a network would."""
        for part in parts:
            (self.native / part).mkdir(parents=True)
            for name in BY_HAND[part]:
                (self.native / part / name).write_text("by hand")

    def start(self, *options: str, wrapper: tuple[str, ...] = (), **environment: str) -> "subprocess.Popen[str]":
        """Start the command with this machine's programs only. `wrapper` goes before the command."""
        return subprocess.Popen(
            [*wrapper, sys.executable, "-m", "app", "provision", *options],
            cwd=ROOT,
            env=os.environ | {"OCR_NATIVE_DIR": str(self.native), "PATH": str(self.programs)} | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def provision(self, *options: str, wrapper: tuple[str, ...] = (), **environment: str) -> tuple[int, str, str]:
        """Run the command; return its status, its output and its error output."""
        with self.start(*options, wrapper=wrapper, **environment) as command:
            out, err = command.communicate()
        return command.returncode, out, err
