"""Measures pages of `GET /models`: a page of 100,000 models against a page of 100. Takes two minutes.

    python benchmarks/list_pages.py

One client on one connection sends one request after another. The engine is a test engine, because lists do not use it.
"""

import contextlib
import http.client
import itertools
import json
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlencode

from common import Server, fill, median_ratio, percentile, print_table, settled

FEW, MANY, LIMIT = 100, 100_000, 100
ROUNDS, REQUESTS, CHANGES = 9, 60, 9
LISTS: dict[str, dict[str, str]] = {
    "by name": {},
    "by size, descending": {"sort": "-size_bytes"},
    "filtered by status, 10 % match": {"status": "old"},
    "filtered by a pattern, 11 % match": {"name": "*_v1*"},
}


class Caller:
    """One connection to a service, which is kept open."""

    def __init__(self, server: Server, models: Path) -> None:
        self.models = models
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def get(self, **params: object) -> bytes:
        """Request a list and return the body."""
        self._connection.request("GET", "/models?" + urlencode(params))
        answer = self._connection.getresponse()
        body = answer.read()
        return body if answer.status == 200 else sys.exit(body.decode())

    def timed(self, **params: object) -> tuple[float, bytes]:
        """Request a list. Return the milliseconds to the whole answer, and the body."""
        began = time.perf_counter()
        body = self.get(**params)
        return (time.perf_counter() - began) * 1000, body


def main() -> None:
    """Run the rounds and print the tables."""
    with contextlib.ExitStack() as running:
        few, many = (running.enter_context(caller_of(count)) for count in (FEW, MANY))
        others = other(few)
        pages = [page_row("one page repeatedly, by name", same(few), same(many))]
        pages += [page_row("a new page each time, by name, models never shown before", others, walk(many, {}))]
        many.get()  # a list of all models, which renders each of them
        for name, params in LISTS.items():
            pages.append(page_row(f"a new page each time, {name}", others, walk(many, params)))
        firsts = [first_row(many, name, params) for name, params in LISTS.items()]
    print_table(
        f"Milliseconds per page of {LIMIT}, {ROUNDS} interleaved rounds of {REQUESTS} requests: medians of rounds, "
        "p99 of all; ratios are medians of the rounds' ratios",
        ("page", f"of {FEW:,}, p50", "p99", f"of {MANY:,}, p50", "p99", "ratio"),
        pages,
    )
    print_table(
        f"Milliseconds per page of {LIMIT} of {MANY:,}: the first after a change, and the next; medians of {CHANGES}",
        ("list", "first", "next"),
        firsts,
    )


@contextlib.contextmanager
def caller_of(count: int) -> Iterator[Caller]:
    """Run a service with a number of models."""
    with tempfile.TemporaryDirectory() as scratch:
        models = fill(Path(scratch, "models"), count)
        with Server.service(models, Path(scratch, "state"), OCR_ENGINE_CLASS="tests.support.engines:Echo") as server:
            server.wait_for("/readyz")
            settled(lambda: server.get(f"/models?limit={LIMIT}")[1])
            yield Caller(server, models)


def same(caller: Caller) -> Iterator[float]:
    """Request the same page repeatedly, for which the service has a cached answer."""
    while True:
        yield caller.timed(limit=LIMIT)[0]


def other(caller: Caller) -> Iterator[float]:
    """Request all of a few models, each time with other parameters, so that no answer is cached."""
    for sort in itertools.cycle(("name", "size_bytes", "modified_at")):
        for limit in range(LIMIT, 1001):
            yield caller.timed(limit=limit, sort=sort)[0]


def walk(caller: Caller, params: dict[str, str]) -> Iterator[float]:
    """Request page after page; then again from the start with longer pages, so that no answer is cached."""
    for limit in itertools.count(LIMIT):
        cursor: dict[str, str] = {}
        while True:
            taken, body = caller.timed(limit=limit, **params, **cursor)
            yield taken
            if (following := json.loads(body)["next_cursor"]) is None:
                break
            cursor = {"cursor": following}


def page_row(name: str, few: Iterator[float], many: Iterator[float]) -> list[str]:
    """Return a row of the table of pages, from interleaved rounds with few and with many models."""
    rounds = [[list(itertools.islice(pages, REQUESTS)) for pages in (few, many)] for _ in range(ROUNDS)]
    ours, theirs = ([statistics.median(pair[which]) for pair in rounds] for which in (1, 0))
    cells = [name]
    for which, medians in ((0, theirs), (1, ours)):
        everything = [taken for pair in rounds for taken in pair[which]]
        cells += [f"{statistics.median(medians):.2f}", f"{percentile(everything, 99):.2f}"]
    return [*cells, f"{median_ratio(ours, theirs):.2f}x"]


def first_row(caller: Caller, name: str, params: dict[str, str]) -> list[str]:
    """Return a row with the times of the first page after a change, which is sorted and filtered anew, and the next."""
    firsts, nexts = [], []
    for number in range(CHANGES):
        added = caller.models / f"added-{number}.bin"
        added.touch()
        # Poll in another order, so that the order that is measured is not computed yet.
        while added.name.encode() not in caller.get(sort="-modified_at", limit=1):
            time.sleep(0.01)
        first, body = caller.timed(limit=LIMIT, **params)
        firsts.append(first)
        nexts.append(caller.timed(limit=LIMIT, cursor=json.loads(body)["next_cursor"], **params)[0])
        added.unlink()
    return [name, f"{statistics.median(firsts):.1f}", f"{statistics.median(nexts):.1f}"]


if __name__ == "__main__":
    main()
