"""Measures what an idle service costs: its memory, the time to start, and the time to release the engine.

    python benchmarks/at_rest.py

Takes a minute. The service is `python -m app serve` with the real AsposeAI; its log goes to a file. The same run also
measures the smallest FastAPI application, which is the floor, and one with AsposeAI in its own process.
"""

import contextlib
import statistics
import tempfile
import time
from collections import defaultdict
from pathlib import Path

import psutil
from common import ROOT, Server, fill, print_table

from app.engine.native.workdir import WorkDirectories

RUNS = 7
MODELS = 1_000
REST_SECONDS = 2.0

Figures = dict[str, list[float]]


def main() -> None:
    """Measure the service and the two other servers, and print a table for each unit."""
    figures: Figures = defaultdict(list)
    for _ in range(RUNS):
        for measure in (measure_service, measure_minimal, measure_in_process):
            with tempfile.TemporaryDirectory() as scratch:
                models = fill(Path(scratch, "models"), MODELS)
                for name, figure in measure(models, Path(scratch, "state")).items():
                    figures[name].append(figure)
    for unit in ("MB", "s"):
        print_table(
            {"MB": "Memory at rest, MB", "s": "Time, seconds"}[unit] + f"; {RUNS} runs, {MODELS:,} models",
            ("", "median", "max"),
            [
                (
                    name.removesuffix(f" ({unit})"),
                    f"{statistics.median(values):.{digits}f}",
                    f"{max(values):.{digits}f}",
                )
                for name, values in figures.items()
                if name.endswith(f"({unit})")
                for digits in [1 if unit == "MB" else 2]
            ],
        )


def measure_service(models: Path, state: Path) -> dict[str, float]:
    """Return the memory and the times of the service with the real AsposeAI."""
    with Server.service(models, state) as service:
        ready = service.wait_for("/readyz")
        service.get("/models")
        time.sleep(REST_SECONDS)
        (engine,) = psutil.Process(service.process.pid).children()
        memory = memory_of("service", service.process.pid) | memory_of("its engine's process", engine.pid)
        both = {
            f"service and engine, {kind} (MB)": sum(figure for name, figure in memory.items() if f", {kind} " in name)
            for kind in ("proportional", "private")
        }
        began = time.perf_counter()
        service.get("/engine/release", "POST")
        released = time.perf_counter() - began
        ready_again = service.wait_for("/readyz", since=began)
    return (
        memory
        | both
        | {
            "service, start to first answer (s)": service.first_answer_seconds,
            "service, start to engine ready (s)": ready,
            "service, release to answer (s)": released,
            "service, release to ready again (s)": ready_again,
        }
    )


def measure_minimal(models: Path, state: Path) -> dict[str, float]:
    """Return the memory and the start time of the smallest FastAPI application."""
    del models, state
    with Server("benchmarks/servers.py", "minimal", environment={}) as server:
        time.sleep(REST_SECONDS)
        memory = memory_of("floor: smallest FastAPI app", server.process.pid)
        return memory | {"floor: smallest FastAPI app, start to first answer (s)": server.first_answer_seconds}


def measure_in_process(models: Path, state: Path) -> dict[str, float]:
    """Return the memory and the start time of a FastAPI application with AsposeAI in its own process."""
    with contextlib.closing(WorkDirectories(state, models, ROOT / "native")) as workdirs:
        directory = workdirs.prepare()
        script = str(ROOT / "benchmarks/servers.py")
        environment = workdirs.environment(directory)
        with Server(script, "in_process_aspose", cwd=directory, environment=environment) as server:
            time.sleep(REST_SECONDS)
            memory = memory_of("FastAPI app with AsposeAI inside", server.process.pid)
            return memory | {"FastAPI app with AsposeAI inside, start to first answer (s)": server.first_answer_seconds}


def memory_of(name: str, pid: int) -> dict[str, float]:
    """Return the memory of a process in MB, by kind.

    Resident: all memory in use, with what other processes share. Proportional: shared memory is divided by the number
    of processes. Private: what the kernel gets back when the process ends.
    """
    held = psutil.Process(pid).memory_full_info()
    figures = {"resident": held.rss, "proportional": held.pss, "private": held.uss}
    return {f"{name}, {kind} (MB)": figure / 1e6 for kind, figure in figures.items()}


if __name__ == "__main__":
    main()
