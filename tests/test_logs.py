"""What the log shows of an exception, and what it must not show."""

import subprocess
import sys

import pytest

CRASHES = """
import logging, sys
import structlog
from app import logs

def connect(token):
    raise RuntimeError("it crashed")

logs.configure(sys.argv[1], "info")
for log in (structlog.get_logger(), logging.getLogger("uvicorn.error")):
    try:
        connect("".join(["hf_", "sec", "ret"]))
    except RuntimeError:
        log.exception("request.crashed")
"""


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_a_traceback_has_no_values_of_variables(log_format: str) -> None:
    """A traceback in the log shows code but no values of variables, which may be keys, tokens or models' bytes."""
    told = subprocess.run([sys.executable, "-c", CRASHES, log_format], capture_output=True, text=True, check=True)

    assert told.stderr.count("it crashed") >= 2
    assert "connect" in told.stderr
    assert "hf_secret" not in told.stderr
