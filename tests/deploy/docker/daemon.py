"""Commands of Docker, and requests to its containers, in a place with a Docker daemon."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.support.waiting import eventually

CHECKOUT = Path("/srv")
"""Where the place has the files of the checkout, for reading only."""
DAEMON_SECONDS = 60
READY_SECONDS = 120


@dataclass(frozen=True)
class Ran:
    """The result of a command: its status, and its output with its errors."""

    status: int
    output: str


class Place(Protocol):
    """Where a Docker daemon runs."""

    def check_alive(self) -> bool:
        """Return True if the place still exists, otherwise fail with its log."""

    def run(self, command: Sequence[object]) -> Ran:
        """Run a command to its end, in the folder of the checkout."""


class Docker:
    """The Docker daemon of a place."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def wait_until_started(self) -> None:
        """Wait until the daemon answers."""
        eventually(
            lambda: self._place.check_alive() and self._place.run(["docker", "info"]).status == 0,
            within=DAEMON_SECONDS,
        )

    def run(self, *command: object) -> str:
        """Run a command in the folder of the checkout and return its output. It fails if the command fails."""
        ran = self._place.run(command)
        assert ran.status == 0, f"{' '.join(map(str, command))}: status {ran.status}\n{ran.output}"
        return ran.output.strip()

    def inspect(self, container: str) -> dict[str, Any]:
        """Return what `docker inspect` says of a container."""
        (found,) = json.loads(self.run("docker", "inspect", container))
        return dict(found)

    def ask(self, path: str, *options: object, port: int = 8000) -> tuple[int, Any]:
        """Ask a published port with curl. Return the status and the JSON, or (0, None) if there is no answer."""
        command = ["curl", "-sS", "-w", "\n%{http_code}", *options, f"http://127.0.0.1:{port}{path}"]
        ran = self._place.run(command)
        if ran.status != 0:
            return 0, None
        body, _, status = ran.output.rpartition("\n")
        return int(status), json.loads(body)

    def wait_until_healthy(self, container: str) -> None:
        """Wait until Docker calls a container healthy, by the health check of its image."""
        eventually(lambda: self._is_healthy(container), within=READY_SECONDS)

    def wait_until_ready(self, container: str, port: int) -> None:
        """Wait until the service of a container is ready; fail with its log if it has ended."""
        eventually(lambda: self._runs(container) and self.ask("/readyz", port=port)[0] == 200, within=READY_SECONDS)

    def _is_healthy(self, container: str) -> bool:
        return self._runs(container) and self.inspect(container)["State"]["Health"]["Status"] == "healthy"

    def _runs(self, container: str) -> bool:
        state = self.inspect(container)["State"]
        assert state["Status"] in {"running", "restarting"}, (
            f"{container}: {state}\n{self.run('docker', 'logs', container)}"
        )
        return bool(state["Status"] == "running")
