"""`make pin-base` writes the digest of the base image to the Dockerfile."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.service import ROOT

DIGEST = "sha256:" + "0123456789abcdef" * 4


def pin(folder: Path, answer: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the program on a copy of the Dockerfile.

    skopeo is a fake that prints `answer` and records its arguments: no registry of images can be reached here.
    """
    (folder / "deploy").mkdir(exist_ok=True)
    (folder / "bin").mkdir(exist_ok=True)
    shutil.copy(ROOT / "deploy" / "pin_base.py", folder / "deploy")
    if not (folder / "Dockerfile").exists():
        shutil.copy(ROOT / "Dockerfile", folder)
    skopeo = folder / "bin" / "skopeo"
    skopeo.write_text(f'#!/bin/sh\necho "$*" >{folder}/asked\necho "{answer}"\n')
    skopeo.chmod(0o755)
    return subprocess.run(
        [sys.executable, folder / "deploy" / "pin_base.py", *arguments],
        env=os.environ | {"PATH": f"{folder}/bin:{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_the_digest_is_written_once(tmp_path: Path) -> None:
    """The line of the Dockerfile gets the digest; a second run replaces it, and changes nothing else."""
    before = (ROOT / "Dockerfile").read_text()
    pinned = [pin(tmp_path, DIGEST), pin(tmp_path, DIGEST.replace("0", "1"))]

    assert [done.returncode for done in pinned] == [0, 0], pinned
    after = (tmp_path / "Dockerfile").read_text()
    name = "python:3.11-slim-bookworm"
    changed = [line for line in after.splitlines() if line not in before.splitlines()]
    assert changed == [f"ARG PYTHON_IMAGE={name}@{DIGEST.replace('0', '1')}"]
    assert (tmp_path / "asked").read_text().split()[-1] == f"docker://docker.io/library/{name}"


def test_an_answer_without_a_digest_changes_nothing(tmp_path: Path) -> None:
    """If the registry gives no digest, the Dockerfile stays as it is, and the message has the answer."""
    refused = pin(tmp_path, "unauthorized")

    assert refused.returncode == 1
    assert "unauthorized" in refused.stderr
    assert (tmp_path / "Dockerfile").read_text() == (ROOT / "Dockerfile").read_text()
