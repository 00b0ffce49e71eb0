"""Measures the speed of `GET /models` against simpler servers, and how soon a change shows. Needs wrk; nine minutes.

    python benchmarks/list_models.py

The service is `python -m app serve` with default settings and the real AsposeAI; it logs one JSON line per request.
"""

import contextlib
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from common import Load, Server, etag_of, fill, median_ratio, print_table, settled, wrk

COUNTS = (10, 100, 1_000, 10_000)
ROUNDS, ROUND_SECONDS, WARM_UP_SECONDS = 7, 2, 1
FRESHNESS_COUNTS = (1_000, 10_000)
CHANGES = 24
SERVERS = ("bare", "framework", "service", "naive")


def main() -> None:
    """Run the comparisons and print the tables."""
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: apt-get install wrk")
    speed, latency, freshness = [], [], []
    for count in COUNTS:
        with folder_of(count) as folder:
            loads, size = compare(folder)
            speed.append(speed_row(count, size, loads))
            latency.append(latency_row(count, loads))
            if count in FRESHNESS_COUNTS:
                freshness += [freshness_row(folder, count, under_load=under_load) for under_load in (False, True)]
    print_table(
        f"Requests per second, 32 connections: medians of {ROUNDS} rounds; ratios are medians of the rounds' ratios",
        (
            "models",
            "answer",
            "bare ASGI",
            "FastAPI",
            "service",
            "naive",
            "service/bare",
            "service/FastAPI",
            "service/naive",
        ),
        speed,
    )
    print_table(
        "Latency in ms, 32 connections that each send the next request at once: p50 / p99, medians of rounds",
        ("models", "bare ASGI", "FastAPI", "service", "naive"),
        latency,
    )
    print_table(
        f"Seconds from a change by another process until GET /models shows it; {CHANGES} changes, polled every 10 ms",
        ("models", "load", "median", "max", "adds, max", "replaces, max", "growths, max", "removals, max"),
        freshness,
    )


@contextlib.contextmanager
def folder_of(count: int) -> Iterator[Path]:
    """Create a folder with a number of models."""
    with tempfile.TemporaryDirectory() as scratch:
        fill(Path(scratch, "models"), count)
        yield Path(scratch)


def service_on(folder: Path) -> Server:
    """Start the service on a folder and wait until it is ready."""
    server = Server.service(folder / "models", folder / "state")
    server.wait_for("/readyz")
    return server


def compare(folder: Path) -> tuple[dict[str, list[Load]], int]:
    """Load every server in interleaved rounds, and return the loads and the size of the answer."""
    with contextlib.ExitStack() as running:
        service = running.enter_context(service_on(folder))
        # The floors send the service's answer, taken once AsposeAI has reported which files it recognises.
        body = settled(lambda: service.get("/models")[1])
        size = len(body)
        answer = folder / "answer.json"
        answer.write_bytes(body)
        servers = {"service": service}
        for name in ("bare", "framework", "naive"):
            environment = {"BENCH_BODY": answer, "OCR_MODELS_DIR": folder / "models"}
            server = Server("benchmarks/servers.py", name, probe="/models", environment=environment)
            servers[name] = running.enter_context(server)
        loads: dict[str, list[Load]] = {name: [] for name in SERVERS}
        for name in SERVERS:
            wrk(servers[name], "/models", seconds=WARM_UP_SECONDS)
        for number in range(ROUNDS):
            for name in SERVERS if number % 2 else reversed(SERVERS):
                # A dozen answers a second: two seconds would be too short for an average.
                is_slow = name == "naive" and size > 1_000_000
                loads[name].append(wrk(servers[name], "/models", seconds=ROUND_SECONDS * (3 if is_slow else 1)))
    return loads, size


def speed_row(count: int, size: int, loads: dict[str, list[Load]]) -> list[str]:
    """Return a row of the table of requests per second."""
    rates = {name: [load.requests_per_second for load in rounds] for name, rounds in loads.items()}
    return [
        f"{count:,}",
        f"{size / 1000:,.0f} kB",
        *(f"{statistics.median(rates[name]):,.0f}" for name in SERVERS),
        *(f"{median_ratio(rates['service'], rates[name]):.0%}" for name in ("bare", "framework")),
        f"{median_ratio(rates['service'], rates['naive']):,.1f}x",
    ]


def latency_row(count: int, loads: dict[str, list[Load]]) -> list[str]:
    """Return a row of the table of latencies."""

    def shown(rounds: list[Load]) -> str:
        p50, p99 = (statistics.median(getattr(load, which) for load in rounds) for which in ("p50_us", "p99_us"))
        return f"{p50 / 1000:.1f} / {p99 / 1000:.1f}"

    return [f"{count:,}", *(shown(loads[name]) for name in SERVERS)]


def freshness_row(folder: Path, count: int, *, under_load: bool) -> list[str]:
    """Return a row of the table of the seconds until a change shows."""
    with contextlib.ExitStack() as running:
        service = running.enter_context(service_on(folder))
        settled(lambda: service.get("/models")[1])
        if under_load:
            running.enter_context(load_on(service))
        delays = freshness(service, folder / "models")
    everything = [seconds for kind in delays.values() for seconds in kind]
    return [
        f"{count:,}",
        "wrk" if under_load else "none",
        f"{statistics.median(everything):.2f}",
        *(f"{max(kind):.2f}" for kind in (everything, *delays.values())),
    ]


@contextlib.contextmanager
def load_on(service: Server) -> Iterator[None]:
    """Load the service until the end of the block."""
    load = subprocess.Popen(["wrk", "-t1", "-c32", "-d600s", service.url + "/models"], stdout=subprocess.DEVNULL)
    try:
        time.sleep(1)
        yield
    finally:
        load.terminate()
        load.wait()


def freshness(service: Server, models: Path) -> dict[str, list[float]]:
    """Change a file from this process and poll the list until it shows the change. Return the seconds by kind."""
    delays: dict[str, list[float]] = {"add": [], "replace": [], "grow": [], "remove": []}
    model, draft = models / "fresh.bin", models / ".fresh.part"
    changes: dict[str, Callable[[], object]] = {
        "add": lambda: model.write_bytes(b"added"),
        "replace": lambda: (draft.write_bytes(b"other"), draft.replace(model)),
        "grow": lambda: os.truncate(model, 1000),
        "remove": model.unlink,
    }
    for _ in range(CHANGES // len(changes)):
        for kind, change in changes.items():
            # Wait a random time, so that changes fall anywhere between two polls of the folder by the service.
            time.sleep(random.uniform(0.5, 1.5))
            change()
            began = time.perf_counter()
            shown = etag_of(model) if kind != "remove" else b'"name":"fresh.bin"'
            while (shown in service.get("/models")[1]) == (kind == "remove"):
                if time.perf_counter() - began > 30:
                    sys.exit(f"{kind} was not seen within 30 s")
                time.sleep(0.01)
            delays[kind].append(time.perf_counter() - began)
    return delays


if __name__ == "__main__":
    main()
