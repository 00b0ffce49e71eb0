"""Which tests may be skipped: anywhere but in CI any, in CI only those that need another machine."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support.service import ROOT
from tests.support.skips import ELSEWHERE

TESTS = f"""
import pytest

@pytest.mark.skipif(True, reason="postgresql is not installed")
def test_by_a_mark(): ...

def test_by_a_call():
    pytest.skip("rsync is not installed")

@pytest.fixture
def server():
    pytest.skip("nginx is not installed")

def test_by_a_fixture(server): ...

def test_that_needs_another_machine():
    pytest.skip("{ELSEWHERE}one with a GPU")

@pytest.mark.xfail
def test_that_is_expected_to_fail():
    raise ValueError
"""


def outcomes(folder: Path, **environment: str) -> set[str]:
    """Run the tests in a process, and return what pytest counts."""
    (folder / "test_skipped.py").write_text(TESTS)
    inherited = {name: value for name, value in os.environ.items() if name != "CI" and not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "pytest", "-p", "tests.conftest", "-p", "no:schemathesis", "-q", str(folder)]
    ran = subprocess.run(command, cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False)
    return set(ran.stdout.splitlines()[-1].partition(" in ")[0].split(", "))


def test_ci_fails_a_test_that_is_skipped_because_something_is_missing(tmp_path: Path) -> None:
    """A skip by a mark, in a test, and in a fixture is a failure in CI, and nowhere else."""
    assert outcomes(tmp_path) == {"4 skipped", "1 xfailed"}
    assert outcomes(tmp_path, CI="true") == {"1 failed", "2 errors", "1 skipped", "1 xfailed"}
