"""Measures how several services share the units of one job, with work that takes a fixed time. Takes 15 minutes.

    python benchmarks/units.py [SECONDS_A_UNIT]

The backends are the model folder, the model folder with its queue in PostgreSQL (`OCR_JOBS_URL`), and, for comparison,
plain workers of procrastinate on PostgreSQL, which keep no results. One job has a fixed number of units for each
service. Prints for 1, 2, 4 and 8 services the units a second as a ratio to linear, which is what their work alone would
take; how many units a second they do whose work takes no time; and the milliseconds from the creation of a job to the
start of its work, from a kill of a service to the start of its unit by another one, and from a cancellation to the end
of the work. PostgreSQL is Debian's, with its durable settings; our services ask it not to wait for the disk when they
fetch and remove rows, since the results are in the folder.

The units a second are those from the first begin to the last end. So it counts that the services do not begin and end
at the same moment, but not the time to the first begin. Before each creation, kill and cancellation whose delay is
measured there is a pause of random length, since services look for work at regular times.
"""

import contextlib
import os
import random
import signal
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from common import print_table
from unit_services import Backend, Notes, Ours, Plain, services

from tests.support.deployed.postgres import Postgres

BACKENDS = ("folder", "postgresql", "plain procrastinate")
SERVICES = (1, 2, 4, 8)
UNITS_A_SERVICE = 24
UNITS_WITHOUT_WORK = 400
ROUNDS = 10
LONGEST_PAUSE_SECONDS = 3.0
ENDLESS = "600"


@contextmanager
def backend_of(name: str, postgres: Postgres) -> Iterator[tuple[Backend, Notes]]:
    """Make an empty folder and database, and give the backend with what its services note."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as work:
        notes, url = Notes(Path(folder) / "notes"), postgres.new_database()
        if name == "plain procrastinate":
            yield Plain(notes, url, work), notes
        else:
            yield Ours(Path(folder) / "models", notes, url if name == "postgresql" else None, work), notes


def throughput(name: str, postgres: Postgres, count: int, seconds: float, units: int) -> float:
    """Return the units a second of some services."""
    with backend_of(name, postgres) as (backend, notes), services(backend, notes, count):
        before = notes.count()
        backend.create(*[str(seconds)] * units)
        while notes.count() < before + 2 * units:
            time.sleep(0.1)
        times = [at for _, _, at in notes.read()[before:]]
    return units / (max(times) - min(times))


def delays(name: str, postgres: Postgres) -> dict[str, list[float]]:
    """Return the milliseconds of each dispatch, takeover and cancellation."""
    found: dict[str, list[float]] = {"dispatch": [], "takeover after kill -9": [], "cancel": []}
    for number in range(ROUNDS):
        with backend_of(name, postgres) as (backend, notes), services(backend, notes, 2):
            pause()
            before, since = notes.count(), time.time()
            job = backend.create(ENDLESS)
            _, pid, at = notes.wait_for(before)
            found["dispatch"].append(1000 * (at - since))
            place = before + 1
            if number == 0 or name != "plain procrastinate":  # which takes a minute for it
                pause()
                since = time.time()
                os.kill(pid, signal.SIGKILL)
                found["takeover after kill -9"].append(1000 * (notes.wait_for(place)[2] - since))
                place += 1
            pause()
            since = time.time()
            backend.cancel(job)
            found["cancel"].append(1000 * (notes.wait_for(place)[2] - since))
    return found


def pause() -> None:
    """Wait for a random time, so that what follows comes at any moment between two looks of a service."""
    time.sleep(random.uniform(0, LONGEST_PAUSE_SECONDS))


def report(line: list[str]) -> list[str]:
    """Show a row while the others are measured, and return it."""
    print(line, file=sys.stderr, flush=True)
    return line


def shown(milliseconds: list[float]) -> str:
    """Return the median and the most of several times."""
    return f"{statistics.median(milliseconds):,.0f} ({max(milliseconds):,.0f})"


def main() -> None:
    """Measure, and print the tables."""
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 0.5
    print(f"{seconds} s a unit, {UNITS_A_SERVICE} units for each service, load {os.getloadavg()[0]:.1f} before")
    heads = ["services", *BACKENDS]
    with Postgres(is_durable=True) as postgres:
        shares, rates = [], []
        for count in SERVICES:
            units = count * UNITS_A_SERVICE
            found = [throughput(name, postgres, count, seconds, units) * seconds / count for name in BACKENDS]
            shares.append(report([str(count), *(f"{each:.3f}" for each in found)]))
        for count in SERVICES:
            found = [throughput(name, postgres, count, 0, UNITS_WITHOUT_WORK) for name in BACKENDS]
            rates.append(report([str(count), *(f"{each:.0f}" for each in found)]))
        measured = {name: delays(name, postgres) for name in BACKENDS}
    print_table("Throughput, of linear", heads, shares)
    print_table("Units a second without work", heads, rates)
    rows = [[what, *(shown(measured[name][what]) for name in BACKENDS)] for what in measured["folder"]]
    print_table("Delays in milliseconds: median (most)", ["delay", *BACKENDS], rows)


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
