"""What the log shows of an exception, and what it must not show."""

import json
import re
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


PRINTS = """
import logging, sys, threading, warnings
from app import logs

logs.configure("json", "info")
warnings.warn("a warning of a library")
thread = threading.Thread(target=lambda: 1 / 0)
thread.start()
thread.join()

class Fails:
    def __del__(self):
        raise ValueError("in a destructor")

Fails()
raise RuntimeError("the process")
"""


def test_what_python_prints_by_itself_is_json() -> None:
    """Warnings, and errors of threads, destructors and the process, are lines of JSON like all others."""
    told = subprocess.run([sys.executable, "-c", PRINTS], capture_output=True, text=True, check=False)

    events = [json.loads(line)["event"] for line in told.stderr.splitlines()]
    assert len(events) == 4
    for says in ("a warning of a library", "a thread failed", "could not be raised", "the process failed"):
        assert any(says in event for event in events)
    assert told.returncode == 1


ESCAPES = r"""
import logging
import structlog
from app import logs

logs.configure("console", "info")
text = "a\x1b[2J\u202eb\x9b\u2066c\r\nd\u2028"
structlog.get_logger().info("request", path=text, fields=[text])
logging.getLogger("uvicorn.error").info("said %s", text)
try:
    raise RuntimeError(text)
except RuntimeError:
    structlog.get_logger().exception("crashed")
"""


def test_the_console_log_escapes_what_a_terminal_obeys() -> None:
    """Control characters, separators and marks of direction in what a caller sent are escaped in the console log."""
    told = subprocess.run([sys.executable, "-c", ESCAPES], capture_output=True, text=True, check=True).stderr

    plain = re.sub(r"\x1b\[[0-9;]*m", "", told)  # the colours of the log itself
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u202a-\u202e\u2066-\u2069]", plain)
    assert plain.count(r"a\x1b[2J\u202eb\x9b\u2066c") >= 3
