"""Tests that are skipped: in CI only those that need another machine. The rest fails there.

The scripts of CI install whatever the tests use, so that a test that is skipped there would only look green.
"""

import os

ELSEWHERE = "needs another machine: "
"""How the reason for a skip begins that is allowed in CI, such as for a test that needs a GPU or real OCR models."""


def is_a_failure(reason: str) -> bool:
    """Return True if a test must not be skipped for this reason, because CI, which sets the variable CI, runs it."""
    return bool(os.environ.get("CI")) and not reason.startswith(ELSEWHERE)
