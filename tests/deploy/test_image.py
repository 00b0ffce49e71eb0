"""The image, built from its Dockerfile without Docker and run as deploy/compose.yaml runs it; its trimmed packages."""

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.service import ROOT

SECONDS = 1500
RECOGNISED = (
    "tests/api/ai/test_real_ai.py::test_keywords_and_questions",
    "tests/api/ocr/test_real_options.py::test_a_dictionary_corrects_words",
    "tests/api/ocr/test_real_options.py::test_a_page_is_readable_after_each_filter[binarize]",
    "tests/api/ocr/test_real_options.py::test_other_calls_of_the_vendor",
    "tests/api/ocr/test_real_recognition.py::test_a_document_has_every_recognised_line",
    "tests/cli/test_pull.py::test_a_model_is_pulled_without_a_server",
)
"""Tests that each load another part of the packages. `make test-trimmed` runs all."""


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 100)
def test_the_image_builds_and_serves_read_only_and_unprivileged() -> None:
    """The image builds, equal in two builds, and passes the checks of deploy/check_image.py, which lists them."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.fail("this test builds a Debian root and mounts in namespaces: run it as root on Linux")
    with subprocess.Popen(
        [sys.executable, ROOT / "deploy" / "check_image.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as check:
        try:
            output, _ = check.communicate(timeout=SECONDS)
        finally:
            check.terminate()  # it cleans up on SIGTERM; no effect if it has ended
    print(output)
    assert check.returncode == 0, output


@pytest.fixture
def trimmed() -> Iterator[Path]:
    """Return the Python of a copy of the packages that is trimmed as in the image. Its files are links to ours."""
    (ROOT / "build").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=ROOT / "build", prefix="trimmed-") as folder:
        shutil.copytree(sys.prefix, folder, symlinks=True, copy_function=os.link, dirs_exist_ok=True)
        python = Path(folder, "bin", Path(sys.executable).name)
        (packages,) = Path(folder, "lib").glob("python3.*/site-packages")
        subprocess.run([python, ROOT / "deploy" / "trim_packages.py", packages], check=True, capture_output=True)
        yield python


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_the_trimmed_packages_recognise_and_pull(trimmed: Path) -> None:
    """A choice of the tests of recognition, texts and pulls passes with the packages of the image."""
    options = ["-q", "-p", "no:cacheprovider", "-m", "slow or not slow", "--timeout", "1700"]
    done = subprocess.run(
        [trimmed, "-m", "pytest", *options, *RECOGNISED], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "skipped" not in done.stdout
    assert not list(trimmed.parents[1].glob("lib/python3.*/site-packages/hf_xet"))
