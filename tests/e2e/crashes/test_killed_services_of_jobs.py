"""Services on one folder are killed and stopped at random while they work on jobs: each unit has exactly one outcome.

Lasts TEST_CHAOS_SECONDS, by default 45. Prints how the services were ended, and what became of the jobs.
"""

import json
import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.files.model_files import NO_TENSORS
from tests.support.service import RunningService
from tests.support.waiting import eventually

SECONDS = float(os.environ.get("TEST_CHAOS_SECONDS", "45"))
SERVICES = 3
READS = "tests.support.engines:Reads"
FINAL = {"succeeded", "failed", "cancelled"}
GONE = (httpx.TransportError,)
"""The service was killed, is stopping, or has not started."""


@dataclass
class Accepted:
    """The jobs that callers were told of."""

    units: dict[str, int] = field(default_factory=dict)
    """By a job's path, how many units it has."""
    ended: dict[str, str] = field(default_factory=dict)
    """By a job's path, its final state, as a caller was told it."""
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    """What must never happen."""
    adding: threading.Lock = field(default_factory=threading.Lock)

    def note(self, answer: httpx.Response) -> httpx.Response:
        with self.adding:
            self.statuses[answer.status_code] += 1
            if answer.status_code in {404, 500}:
                self.wrong.append(f"{answer.request.method} {answer.request.url.path}: {answer.text}")
        return answer


class Services:
    """Several services on one folder, each of which is started again after it has ended."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.models = folder / "models"
        (self.models / DEFAULT_MODEL).parent.mkdir(parents=True)
        (self.models / DEFAULT_MODEL).write_bytes(NO_TENSORS)
        self.running = [self._start(number) for number in range(SERVICES)]
        self.ends = Counter[str]()
        self.logs = list[str]()

    def end(self, number: int, how: signal.Signals) -> None:
        """End a service and start it again."""
        service = self.running[number]
        service.stop(how)
        self.ends[how.name] += 1
        self.logs.append(service.log)
        service.__exit__()
        self.running[number] = self._start(number)

    def url(self) -> str:
        """Return the URL of any service, which may be ended meanwhile."""
        return random.choice(self.running).url  # noqa: S311

    def entries(self) -> Counter[str]:
        """Count the entries of the logs of all jobs; units that services began and did not end are begun again."""
        logs = self.models.glob(".store/jobs/*/log.jsonl")
        return Counter(json.loads(line)["event"] for log in logs for line in log.read_text().splitlines())

    def close(self) -> None:
        for service in self.running:
            self.logs.append(service.log)
            service.__exit__()

    def _start(self, number: int) -> RunningService:
        folder = self._folder / str(number)
        folder.mkdir(exist_ok=True)
        settings = {"models_dir": self.models, "engine_class": READS, "engine_stable_after": 0}
        return RunningService(folder, **settings).__enter__()  # type: ignore[arg-type]


@contextmanager
def callers(services: Services, accepted: Accepted) -> Iterator[None]:
    """Let callers create, cancel and read jobs until the end of the block."""
    is_over = threading.Event()

    def live(number: int) -> None:
        chance = random.Random(number)  # noqa: S311
        while not is_over.is_set():
            try:
                with httpx.Client(base_url=services.url(), timeout=120) as client:
                    (create, create, cancel, read)[chance.randrange(4)](client, accepted, chance)
            except GONE:
                is_over.wait(0.1)
            is_over.wait(0.05)

    with ThreadPoolExecutor(4) as threads:
        living = [threads.submit(live, number) for number in range(4)]
        try:
            yield
        finally:
            is_over.set()
        for each in living:
            each.result()


def create(client: httpx.Client, accepted: Accepted, chance: random.Random) -> None:
    """Create a job of a few texts or images."""
    with accepted.adding:
        if sum(1 for path in accepted.units if path not in accepted.ended) > 30:
            return  # so that the services finish all jobs soon after the test has ended
    count = chance.randint(1, 8)
    if chance.random() < 0.5:
        texts = [chance.choice(["a", "sleep:0.05", "fail:odd"]) for _ in range(count)]
        answer = client.post("/ai/spell-check", json={"texts": texts}, headers={"prefer": "respond-async"})
    else:
        images = [chance.choice([b"read a", b"nap 0.05", b"odd"]) for _ in range(count)]
        files = [("file", (f"{number}", image)) for number, image in enumerate(images)]
        answer = client.post("/ocr/jobs", files=files)
    if accepted.note(answer).status_code == 202:
        with accepted.adding:
            accepted.units[answer.headers["location"]] = count


def any_job(accepted: Accepted, chance: random.Random) -> str | None:
    with accepted.adding:
        paths = list(accepted.units)[-20:]
    return chance.choice(paths) if paths else None


def cancel(client: httpx.Client, accepted: Accepted, chance: random.Random) -> None:
    """Cancel any job. The answer has its end."""
    if path := any_job(accepted, chance):
        answer = accepted.note(client.delete(path))
        if answer.status_code == 200:
            ended_as(accepted, path, answer.json()["state"])


def read(client: httpx.Client, accepted: Accepted, chance: random.Random) -> None:
    """Read any job and its results, which must not repeat a unit."""
    if not (path := any_job(accepted, chance)):
        return
    job = accepted.note(client.get(path))
    if job.is_success and job.json()["state"] in FINAL:
        ended_as(accepted, path, job.json()["state"])
    results = accepted.note(client.get(f"{path}/results"))
    if results.is_success:
        check_each_once(accepted, path, results.json()["results"])


def ended_as(accepted: Accepted, path: str, state: str) -> None:
    """Note the end of a job, which must be the same for ever."""
    with accepted.adding:
        if accepted.ended.setdefault(path, state) != state:
            accepted.wrong.append(f"{path} was {accepted.ended[path]} and is {state}")


def check_each_once(accepted: Accepted, path: str, results: list[dict[str, Any]]) -> set[int]:
    """Check that no unit has two results. Return the units that have one."""
    numbers = [result["index"] for result in results]
    if len(set(numbers)) != len(numbers):
        with accepted.adding:
            accepted.wrong.append(f"{path} has two results of a unit: {numbers}")
    return set(numbers)


@pytest.mark.slow
@pytest.mark.timeout(SECONDS + 900)
def test_each_accepted_unit_has_one_outcome(tmp_path: Path) -> None:
    """No job is lost, no unit has two results, cancelled jobs stay cancelled, and no answer is a 500."""
    services, accepted, chance = Services(tmp_path), Accepted(), random.Random(20261127)  # noqa: S311
    try:
        over_at = time.monotonic() + SECONDS
        with callers(services, accepted):
            eventually(lambda: accepted.units, within=120)
            while time.monotonic() < over_at or not services.ends:
                time.sleep(chance.uniform(0, 2))
                how = chance.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM])
                services.end(chance.randrange(SERVICES), how)
        client = services.running[0].client
        states = {path: state_at_end(client, path) for path in accepted.units}
        for path, state in states.items():
            ended_as(accepted, path, state)
            found = check_each_once(accepted, path, client.get(f"{path}/results").json()["results"])
            if state != "cancelled" and found != set(range(accepted.units[path])):
                accepted.wrong.append(f"{path} is {state} and has the results {found} of {accepted.units[path]}")
    finally:
        services.close()
    counts = {"jobs": Counter(states.values()), "units": sum(accepted.units.values()), "entries": services.entries()}
    print(json.dumps({"ends": services.ends} | counts | {"answers": accepted.statuses}))

    assert accepted.wrong == []
    assert [line for log in services.logs for line in log.splitlines() if is_defect(line)] == []
    assert "succeeded" in states.values()


def state_at_end(client: httpx.Client, path: str) -> str:
    """Wait for the end of a job, and return its state."""

    def state() -> str | None:
        found = str(client.get(path).raise_for_status().json()["state"])
        return found if found in FINAL else None

    return eventually(state, within=120)


def is_defect(line: str) -> bool:
    """Return True if a service logs a defect with this line."""
    return any(event in line for event in ("job.crashed", "part_restarted", "part_failed", "request.crashed"))
