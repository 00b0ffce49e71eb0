"""Evaluates expressions, one line of JSON each: `[expression, names]`. Answers `{"value": …}` or `{"errno": …}`."""

import ctypes
import json
import os
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

LIBRARY = ctypes.CDLL(None, use_errno=True)


def rename2(source: str, target: str, flags: int) -> None:
    """Rename with flags, by the system call that the application uses."""
    if LIBRARY.renameat2(-100, os.fsencode(source), -100, os.fsencode(target), flags):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


KNOWN: dict[str, Any] = {
    "os": os,
    "ctypes": ctypes,
    "Path": Path,
    "ThreadPoolExecutor": ThreadPoolExecutor,
    "library": LIBRARY,
    "rename2": rename2,
}


def answer_to(expression: str, names: dict[str, Any]) -> dict[str, Any]:
    """Evaluate one expression. Names in KNOWN that it assigns stay known for later expressions."""
    try:
        return {"value": eval(expression, KNOWN | names)}  # noqa: S307 - written by the tests
    except OSError as exc:
        return {"errno": exc.errno}


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(answer_to(*json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
