"""Each line that `serve` prints is one JSON object, however the service starts, fails and ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from tests.support.service import ECHO, ROOT
from tests.support.waiting import Deadline

pytestmark = pytest.mark.slow

LOUD = "tests.support.engines:Loud"
STARTS = {
    "as usual": {},
    "with the real engine": {"OCR_ENGINE_CLASS": ""},
    "with an engine that prints": {"OCR_ENGINE_CLASS": LOUD},
    "with an engine that does not exist": {"OCR_ENGINE_CLASS": "no.such:Engine"},
    "with Python's development mode": {"PYTHONDEVMODE": "1", "PYTHONASYNCIODEBUG": "1"},
    "with all warnings": {"PYTHONWARNINGS": "always"},
    "with a variable that is no setting": {"OCR_PROT": "1"},
    "on a port that is taken": {"OCR_PORT": "{taken}"},
    "with a wrong setting": {"OCR_PORT": "eight"},
    "with a wrong format of the log": {"OCR_LOG_FORMAT": "yaml"},
    "with a model folder that cannot be made": {"OCR_MODELS_DIR": "/proc/nothing"},
    "with a path prefix that is a route": {"OCR_ROOT_PATH": "/models"},
    "with a licence that is refused": {"OCR_LICENSE_FILE": "LICENSE"},
}


class Run:
    """A service whose standard output and error are one file, started as a new program."""

    def __init__(self, folder: Path, variables: dict[str, str], *, module: str = "app") -> None:
        self._output = folder / "output"
        places = {"OCR_MODELS_DIR": f"{folder}/models", "OCR_STATE_DIR": f"{folder}/state", "OCR_PORT": "0"}
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
        environment = inherited | places | {"OCR_ENGINE_CLASS": ECHO} | variables
        with self._output.open("wb") as file:
            command = [sys.executable, "-m", module, "serve"]
            self._process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=file, stderr=file)

    def until(self, *events: str) -> "Run":
        """Wait until one of the events is logged, or the process has ended."""
        deadline = Deadline(90)
        while self._process.poll() is None and not any(f'"{event}"' in self._output.read_text() for event in events):
            assert not deadline.is_over
            time.sleep(0.02)
        return self

    def until_imported(self, module: str) -> "Run":
        """Wait until the process has loaded a module that is a library, which a command imports early."""
        maps, deadline = Path(f"/proc/{self._process.pid}/maps"), Deadline(90)
        while module not in maps.read_text():
            assert not deadline.is_over
            time.sleep(0.001)
        return self

    def end(self, number: int = signal.SIGTERM) -> list[dict[str, Any]]:
        """End the process by a signal, and return what it logged. Fails if a line is no JSON object."""
        if self._process.poll() is None:
            self._process.send_signal(number)
        self._process.wait(timeout=90)
        lines = self._output.read_text().splitlines()
        objects = [json.loads(line) for line in lines]
        assert all({"event", "level", "timestamp"} <= each.keys() for each in objects)
        return objects


@pytest.mark.parametrize("way", STARTS)
def test_each_line_is_an_object_however_the_service_starts(way: str, tmp_path: Path) -> None:
    """Each line is a JSON object, with a service that runs, and with one that cannot start."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        variables = {name: value.format(taken=taken.getsockname()[1]) for name, value in STARTS[way].items()}

        logged = Run(tmp_path, variables).until("engine.ready", "engine.backing_off").end()

    assert logged


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_service_that_is_asked_to_end_while_it_is_imported_prints_no_traceback(number: int, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM during the imports end the start without a traceback."""
    Run(tmp_path, {}).until_imported("pydantic_core").end(number)


def test_the_traceback_of_a_fatal_signal_is_logged_by_the_next_start(tmp_path: Path) -> None:
    """With PYTHONFAULTHANDLER, the traceback of a SIGSEGV is one event of the next start, and logged once."""
    fatal = {"PYTHONFAULTHANDLER": "1"}
    Run(tmp_path, fatal).until("engine.ready").end(signal.SIGSEGV)

    logged = Run(tmp_path, fatal).until("engine.ready").end()

    found = [each for each in logged if each["event"] == "service.fault_found"]
    assert [("Segmentation fault" in each["output"], each["level"]) for each in found] == [(True, "error")]
    assert not list((tmp_path / "state").iterdir())


def test_a_part_that_fails_is_logged_as_objects(tmp_path: Path) -> None:
    """The traceback of a part whose defect ends the service is in a JSON object."""
    logged = Run(tmp_path, {}, module="tests.support.defects.failing_part").until("service.part_failed").end()

    assert "service.part_failed" in {each["event"] for each in logged}
