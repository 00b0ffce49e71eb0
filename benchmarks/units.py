"""Measures how several services share the units of one job, with work that takes a fixed time. Takes two minutes.

    python benchmarks/units.py [SECONDS_A_UNIT]

Each service is a process with the runner of the units of jobs, and does nothing else. The work sleeps, so that the
figures show the cost of the claims, the logs and the results, and not that of an engine. One job has a fixed number of
units for each service. Prints for 1, 2, 4 and 8 services the units a second, and the ratio to linear: the time that the
units of one service would take if its work had no cost. Then the milliseconds from the creation of a job to the start
of its work, from a kill of a service to the start of its unit by another one, and from a cancellation to the end of the
work.
"""

import asyncio
import contextlib
import json
import multiprocessing
import os
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import anyio
from common import print_table

from app.build import build_jobs
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.records import Task, Unit, failure_of
from app.jobs.units.unit_claims import Claim, Outcome
from app.jobs.units.unit_order import UnitOrder
from app.jobs.units.unit_runner import UnitRunner, UnitWork
from app.store.actor import Actor
from app.store.policy import Policy
from app.store.store import Store

KIND = "benchmark"
SERVICES = (1, 2, 4, 8)
UNITS_A_SERVICE = 40
ROUNDS = 5
SPAWN = multiprocessing.get_context("spawn")


class Sleeping(UnitWork):
    """Sleeps for the seconds that a unit has as its text, and notes when the work on it began and ended."""

    def __init__(self, notes: Path) -> None:
        self._notes = notes

    def understands(self, _: dict[str, Any]) -> bool:
        return True

    async def run(self, claim: Claim) -> Outcome:
        self._note("begun")
        try:
            await anyio.sleep(float(claim.unit.text or 0))
        finally:
            self._note("over")
        return Outcome("{}")

    def failed(self, _: Claim, error: Exception) -> Outcome:
        return Outcome("{}", failure_of(error))

    def _note(self, what: str) -> None:
        with self._notes.open("a") as file:
            file.write(json.dumps([what, os.getpid(), time.time()]) + "\n")


def opened(root: Path) -> Jobs:
    """Open the jobs of a folder."""
    store = Store(root, Policy(), trash_retention=timedelta(days=1), on_event=lambda *_: None)
    store.open()
    return build_jobs(store)


def serve(root: Path, notes: Path) -> None:
    """Work on units until this process is killed."""
    jobs = opened(root)

    async def run() -> None:
        await UnitRunner(UnitOrder(jobs), {KIND: Sleeping(notes)}, lambda *_: None).run()

    asyncio.run(run())


@contextmanager
def services(root: Path, notes: Path, count: int) -> Iterator[None]:
    """Run services, each of which has worked on a unit when the block begins."""
    running: list[BaseProcess] = [SPAWN.Process(target=serve, args=(root, notes)) for _ in range(count)]
    try:
        for process in running:
            process.start()
        jobs = opened(root)
        while len({pid for _, pid, _ in read(notes)}) < count:
            finished(jobs, create(jobs, *["0.5"] * count))
        yield
    finally:
        for process in running:
            process.kill()
            process.join()


def read(notes: Path) -> list[list[Any]]:
    """Return the notes: what happened, in which process, and when."""
    return [json.loads(line) for line in notes.read_text().splitlines()] if notes.exists() else []


def noted(notes: Path, place: int) -> list[Any]:
    """Wait for a note, by its place, and return it."""
    note: list[Any] = until(lambda: read(notes)[place:])[0]
    return note


def create(jobs: Jobs, *texts: str) -> Job:
    """Create a job of units that take as many seconds as their texts say."""
    with jobs.units.new() as new:
        new.add_all(Unit(text=text) for text in texts)
        return jobs.units.create(new, KIND, {}, Actor("benchmark"), Task({}))


def finished(jobs: Jobs, job: Job) -> Job:
    """Wait for the end of a job."""
    return until(lambda: found if (found := jobs.get(job.id)).is_finished else None)


def until(probe: Callable[[], Any]) -> Any:  # noqa: ANN401 - what the probe returns
    """Wait until a probe is true, and return what it returned."""
    while not (found := probe()):
        time.sleep(0.002)
    return found


def throughput(count: int, seconds: float) -> tuple[float, float]:
    """Return the units a second of some services, and the ratio to what their work alone would take."""
    with temporary() as (root, notes), services(root, notes, count):
        jobs, before = opened(root), len(read(notes))
        job = create(jobs, *[str(seconds)] * count * UNITS_A_SERVICE)
        finished(jobs, job)
        times = [at for _, _, at in read(notes)[before:]]
    taken = max(times) - min(times)
    return count * UNITS_A_SERVICE / taken, seconds * UNITS_A_SERVICE / taken


def delays() -> dict[str, list[float]]:
    """Return the milliseconds of each dispatch, takeover and cancellation."""
    found: dict[str, list[float]] = {"dispatch": [], "takeover after kill -9": [], "cancel": []}
    for _ in range(ROUNDS):
        with temporary() as (root, notes), services(root, notes, 2):
            jobs, before = opened(root), len(read(notes))
            since = time.time()
            job = create(jobs, "600")
            _, pid, at = noted(notes, before)
            found["dispatch"].append(1000 * (at - since))
            since = time.time()
            os.kill(pid, signal.SIGKILL)
            found["takeover after kill -9"].append(1000 * (noted(notes, before + 1)[2] - since))
            since = time.time()
            jobs.cancel(job.id)
            found["cancel"].append(1000 * (noted(notes, before + 2)[2] - since))
    return found


@contextmanager
def temporary() -> Iterator[tuple[Path, Path]]:
    """Make a model folder, and give the path of the notes."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / "models", Path(folder) / "notes"


def main() -> None:
    """Measure, and print the tables."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
    print(f"{seconds} s a unit, {UNITS_A_SERVICE} units for each service, load {os.getloadavg()[0]:.1f} before")
    rows = []
    for count in SERVICES:
        rate, ratio = throughput(count, seconds)
        rows.append([str(count), f"{rate:.2f}", f"{ratio:.3f}"])
        print(rows[-1], file=sys.stderr, flush=True)
    print_table("Throughput", ["services", "units/s", "of linear"], rows)
    rows = [[name, f"{statistics.median(each):,.0f}", f"{max(each):,.0f}"] for name, each in delays().items()]
    print_table("Delays, in milliseconds", ["delay", "median", "most"], rows)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
