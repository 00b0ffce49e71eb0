"""Compares one service with one core, one with two, and two services that share two cores, on the same pages.

    python benchmarks/cores.py [ROUNDS] [--dense]

Three rounds take about four minutes on a quiet machine, with `--dense` a quarter of an hour. Needs two cores and the
native libraries (`python -m app provision`). Each arrangement has services of its own, which have read one page before
the first round and do nothing while the others read. In each round every arrangement reads each page, in turn: each of
its services reads the page twice, all of them at once. A ratio is the median of the ratios of the rounds, so that other
work on the machine, which changes from minute to minute, affects it less than the seconds. The CPU seconds are those of
the engine processes; they change less with other work. A service's cores are set before it starts, as `taskset` and a
container do, because the vendor's libraries count the cores once.
"""

import argparse
import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from common import ROOT, median_ratio, print_table
from recognisers import Reader, encoded, page
from resources import DENSE, a4

TWICE = 2
ALONE = "one service, two cores"
"""The arrangement that the others are compared with."""
SMALL = ["Invoice 4711 of 26 May", "Total 1,250.00 EUR", "Due within 30 days", "to Smith and Sons"]


@dataclass(frozen=True)
class Round:
    """What an arrangement took for a page in one round."""

    seconds_a_page: float
    """How long a caller waited for a page."""
    pages_a_minute: float
    cpu_seconds_a_page: float


def arrangements() -> dict[str, list[set[int]]]:
    """Return the cores of each service, by the name of the arrangement."""
    first, second = sorted(os.sched_getaffinity(0))[:2]
    both = {first, second}
    return {
        "one service, one core": [{first}],
        ALONE: [both],
        "two services, a core each": [{first}, {second}],
        "two services, both on two cores": [both, both],
    }


def main(rounds: int, *, with_dense: bool) -> None:
    """Measure the rounds and print a table for each page."""
    pages = {
        "four lines of 20 characters": encoded(page(SMALL, 28).convert("L")),
        "docs/sample-page.png": (ROOT / "docs/sample-page.png").read_bytes(),
    }
    if with_dense:
        pages[f"A4 at 150 dots an inch, {DENSE} lines"] = a4(150, DENSE)
    found: dict[str, dict[str, list[Round]]] = {name: {each: [] for each in arrangements()} for name in pages}
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as running:
        parties = {
            name: [running.enter_context(reader(Path(scratch, f"{name} {n}"), each)) for n, each in enumerate(cores)]
            for name, cores in arrangements().items()
        }
        for readers in parties.values():
            read(readers, pages["four lines of 20 characters"])  # the first call loads the vendor's networks
        for number in range(rounds):
            order = list(parties)[number % len(parties) :] + list(parties)[: number % len(parties)]
            for shown, image in pages.items():
                for name in order:
                    found[shown][name].append(read(parties[name], image))
                    print(number, shown, name, found[shown][name][-1], file=sys.stderr, flush=True)
    for shown, by_name in found.items():
        heads = ("arrangement", "s a page", "CPU s a page", "pages a minute", "pages, ratio", "CPU, ratio")
        rows = [row(name, each, by_name[ALONE]) for name, each in by_name.items()]
        print_table(f"{shown}; medians of {rounds} rounds; ratios to {ALONE}", heads, rows)


@contextlib.contextmanager
def reader(folder: Path, cores: set[int]) -> Iterator[Reader]:
    """Run a service with these cores."""
    folder.mkdir()
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, cores)  # the service inherits it
    try:
        started = Reader(folder)
    finally:
        os.sched_setaffinity(0, own)
    with started:
        yield started


def read(readers: Sequence[Reader], image: bytes) -> Round:
    """Read a page twice with each service, all at once."""

    def twice(each: Reader) -> list[tuple[float, float]]:
        costs = []
        for _ in range(TWICE):
            response, cost = each.read(image)
            response.raise_for_status()
            costs.append((cost.seconds, cost.cpu_seconds))
        return costs

    began = time.perf_counter()
    with ThreadPoolExecutor(len(readers)) as threads:
        costs = [cost for each in threads.map(twice, readers) for cost in each]
    elapsed = time.perf_counter() - began
    waited, used = (statistics.mean(column) for column in zip(*costs, strict=True))
    return Round(waited, 60 * len(costs) / elapsed, used)


def row(name: str, rounds: Sequence[Round], compared: Sequence[Round]) -> tuple[str, ...]:
    """Return the row of an arrangement."""
    ours, theirs = ([each.pages_a_minute for each in of] for of in (rounds, compared))
    used, used_there = ([each.cpu_seconds_a_page for each in of] for of in (rounds, compared))
    return (
        name,
        f"{statistics.median(each.seconds_a_page for each in rounds):.2f}",
        f"{statistics.median(used):.2f}",
        f"{statistics.median(ours):.1f}",
        f"{median_ratio(ours, theirs):.2f}",
        f"{median_ratio(used, used_there):.2f}",
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rounds", nargs="?", type=int, default=3)
    parser.add_argument("--dense", action="store_true", help="also read a page full of text")
    asked = parser.parse_args()
    main(asked.rounds, with_dense=asked.dense)
