"""Several services on one folder, and their database, which a test ends at random and starts again."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.deployed.postgres import Postgres
from tests.support.files.model_files import NO_TENSORS
from tests.support.processes import free_port
from tests.support.service import RunningService

SERVICES = 3
DEFECTS = ("job.crashed", "part_restarted", "part_failed", "request.crashed")
"""The events with which a service logs a defect."""


class ManyServices:
    """Several services on one folder, each of which is started again after it has ended, on the same port.

    Callers call a service also while it is down. At a port that the kernel has chosen, a service of another test could
    answer them then.
    """

    def __init__(self, folder: Path, postgres: Postgres | None = None, **settings: Any) -> None:
        """With `postgres`, the services use a new database of it for their jobs, and it is ended like them."""
        self._folder = folder
        self._postgres = postgres
        self._settings = settings | {"models_dir": folder / "models", "engine_stable_after": 0}
        if postgres:
            self._settings["jobs_url"] = postgres.new_database()
        self.models = folder / "models"
        (self.models / DEFAULT_MODEL).parent.mkdir(parents=True)
        (self.models / DEFAULT_MODEL).write_bytes(NO_TENSORS)
        self._ports = [free_port() for _ in range(SERVICES)]
        self.running = [self._start(number) for number in range(SERVICES)]
        self.ends = Counter[str]()
        """How many times each part was ended, by its name and how."""
        self._logs = list[str]()

    def end_one(self, chance: random.Random) -> None:
        """End a service or the database, by a kill or as an operator does, and start it again."""
        ends: list[Callable[[], None]] = [
            lambda: self.end(
                chance.randrange(SERVICES), chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
            )
        ]
        if self._postgres:
            ends.append(lambda: self.end_database(chance))
        chance.choices(ends, [SERVICES, 1][: len(ends)])[0]()

    def end(self, number: int, how: signal.Signals) -> None:
        """End a service and start it again."""
        service = self.running[number]
        service.stop(how)
        self.ends[f"service {how.name}"] += 1
        self._logs.append(service.log)
        service.__exit__()
        self.running[number] = self._start(number)
        assert self.running[number].url == service.url

    def end_database(self, chance: random.Random) -> None:
        """End the database, leave the services without it for up to two seconds, and start it again."""
        assert self._postgres
        end, name = chance.choice([(self._postgres.kill, "SIGKILL"), (self._postgres.stop, "stopped")])
        end()
        self.ends[f"database {name}"] += 1
        time.sleep(chance.uniform(0, 2))
        self._postgres.start()

    def url(self) -> str:
        """Return the URL of any service, which may be ended meanwhile."""
        return random.choice(self.running).url  # noqa: S311 - not for a secret

    def defects(self) -> list[str]:
        """Return the lines with which services have logged defects."""
        lines = [line for log in self._logs for line in log.splitlines()]
        return [line for line in lines if any(event in line for event in DEFECTS)]

    def close(self) -> None:
        """Stop all services, unless that was done."""
        while self.running:
            service = self.running.pop()
            service.stop()
            self._logs.append(service.log)
            service.__exit__()

    def _start(self, number: int) -> RunningService:
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        return RunningService(folder, port=self._ports[number], **self._settings).__enter__()
