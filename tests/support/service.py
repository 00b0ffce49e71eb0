"""The real service, started by its command on a free port."""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import IO, Any

import httpx

from tests.support.fork_server import ForkedProcess, fork_service
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[2]
ECHO = "tests.support.engines:Echo"


class RunningService:
    """`python -m app serve` on a free port of loopback. As a context manager, it starts and stops the service."""

    def __init__(self, folder: Path, *, wrapper: tuple[str, ...] = (), module: str = "app", **settings: object) -> None:
        """`wrapper` goes before the command, such as `setpriv` with its options; `module` is what python -m runs.

        Without these two the service is forked from a process that has imported the application (`fork_server`).
        """
        self.folder = folder
        self.models_dir = Path(str(settings.get("models_dir", folder / "models")))
        self.state_dir = folder / "state"
        self._settings = {"OCR_MODELS_DIR": self.models_dir, "OCR_STATE_DIR": self.state_dir, "OCR_PORT": 0} | {
            f"OCR_{name.upper()}": value for name, value in settings.items()
        }
        self._command = [*wrapper, sys.executable, "-m", module, "serve"]
        self._is_forked = not wrapper and module == "app"
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._log_start = 0
        self.process: subprocess.Popen[bytes] | ForkedProcess
        self.client: httpx.Client

    def __enter__(self) -> "RunningService":
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
        environment = inherited | {name: str(value) for name, value in self._settings.items()}
        forked = fork_service(["serve"], environment, self._log.fileno()) if self._is_forked else None
        self.process = forked or subprocess.Popen(self._command, cwd=ROOT, env=environment, stderr=self._log)
        try:
            url = eventually(self._find_url, within=60)
        except BaseException:
            self.stop(signal.SIGKILL)  # __exit__ is not called if __enter__ raises
            self._log.close()
            raise
        self.client = httpx.Client(base_url=url, timeout=250)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.stop()
        self._log.close()

    @property
    def url(self) -> str:
        """The URL of the service."""
        return str(self.client.base_url)

    @property
    def log(self) -> str:
        """The text that the service has logged since its start or the last `clear()`."""
        return os.pread(self._log.fileno(), 1 << 26, self._log_start).decode()

    def wait_until_ready(self) -> "RunningService":
        """Wait until the engine is ready, and return the service."""
        eventually(lambda: self.client.get("/readyz").status_code == 200, within=60)
        return self

    def wait_for_queue(self) -> "RunningService":
        """Wait until a database that has the queue of jobs has answered the service, and return the service."""
        if "OCR_JOBS_URL" in self._settings:
            eventually(self._has_queue, within=60)
        return self

    def clear(self, models_dir: Path | None = None) -> "RunningService":
        """Remove all models and trash, wait until the service shows an empty list, and forget its log.

        `models_dir` is the path of the model folder in this process, if the service sees it at another path.
        """
        for path in (models_dir or self.models_dir).iterdir():
            if path.is_symlink() or not path.is_dir():
                path.unlink()
            elif path.name != ".store":
                shutil.rmtree(path)
        self.client.delete("/trash").raise_for_status()
        # Otherwise a test that creates the same models as the last one could read the last one's list.
        eventually(self._lists_nothing)
        self._log_start = os.fstat(self._log.fileno()).st_size
        return self

    def engine(self) -> dict[str, Any]:
        """Return the answer of `GET /engine`."""
        return dict(self.client.get("/engine").raise_for_status().json())

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Send a signal, by default SIGTERM, wait for the end, and return the exit status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(timeout=90)

    def _has_queue(self) -> bool:
        checks = self.client.get("/readyz?verbose").json().get("checks", [])  # a problem while the engine starts
        return any(check["name"] == "queue" and check["ok"] for check in checks)

    def _lists_nothing(self) -> bool:
        listed = self.client.get("/models").raise_for_status().json()
        return bool(listed["count"] == 0 and listed["warnings"] == [])

    def _find_url(self) -> str | None:
        if self.process.poll() is not None:
            message = f"the service ended with status {self.process.returncode}:\n{self.log}"
            raise AssertionError(message)
        found = re.search(r"Uvicorn running on (http://[^\s\"]+)", self.log)
        return found[1] if found else None
