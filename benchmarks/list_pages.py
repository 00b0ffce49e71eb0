"""Pages of `GET /models`: whether a page of many models costs what a page of few does. Takes two minutes.

    python benchmarks/list_pages.py

One caller on one connection, one request after another. The engine is the one of the tests: it is not asked for a list.
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
    """One connection to a service of its own, kept open."""

    def __init__(self, server: Server, models: Path) -> None:
        self.models = models
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def get(self, **params: object) -> bytes:
        self._connection.request("GET", "/models?" + urlencode(params))
        answer = self._connection.getresponse()
        body = answer.read()
        return body if answer.status == 200 else sys.exit(body.decode())

    def timed(self, **params: object) -> tuple[float, bytes]:
        """Milliseconds to the whole answer, and the answer."""
        began = time.perf_counter()
        body = self.get(**params)
        return (time.perf_counter() - began) * 1000, body


def main() -> None:
    with contextlib.ExitStack() as running:
        few, many = (running.enter_context(caller_of(count)) for count in (FEW, MANY))
        others = other(few)
        pages = [page_row("one page repeatedly, by name", same(few), same(many))]
        pages += [page_row("a new page each time, by name, models never shown before", others, walk(many, {}))]
        many.get()  # shows every one of them
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
    with tempfile.TemporaryDirectory() as scratch:
        models = fill(Path(scratch, "models"), count)
        with Server.service(models, Path(scratch, "state"), OCR_ENGINE_CLASS="tests.support.engines:Echo") as server:
            server.wait_for("/readyz")
            settled(lambda: server.get(f"/models?limit={LIMIT}")[1])
            yield Caller(server, models)


def same(caller: Caller) -> Iterator[float]:
    """What a poller asks for: the service has the answer ready."""
    while True:
        yield caller.timed(limit=LIMIT)[0]


def other(caller: Caller) -> Iterator[float]:
    """All models of a few, each time asked for in other words, so that no answer is ready."""
    for sort in itertools.cycle(("name", "size_bytes", "modified_at")):
        for limit in range(LIMIT, 1001):
            yield caller.timed(limit=limit, sort=sort)[0]


def walk(caller: Caller, params: dict[str, str]) -> Iterator[float]:
    """One page after another; then from the start again, with pages a little longer, so that no answer is ready."""
    for limit in itertools.count(LIMIT):
        cursor: dict[str, str] = {}
        while True:
            taken, body = caller.timed(limit=limit, **params, **cursor)
            yield taken
            if (following := json.loads(body)["next_cursor"]) is None:
                break
            cursor = {"cursor": following}


def page_row(name: str, few: Iterator[float], many: Iterator[float]) -> list[str]:
    """Interleaved: both of a round meet the same machine."""
    rounds = [[list(itertools.islice(pages, REQUESTS)) for pages in (few, many)] for _ in range(ROUNDS)]
    ours, theirs = ([statistics.median(pair[which]) for pair in rounds] for which in (1, 0))
    cells = [name]
    for which, medians in ((0, theirs), (1, ours)):
        everything = [taken for pair in rounds for taken in pair[which]]
        cells += [f"{statistics.median(medians):.2f}", f"{percentile(everything, 99):.2f}"]
    return [*cells, f"{median_ratio(ours, theirs):.2f}x"]


def first_row(caller: Caller, name: str, params: dict[str, str]) -> list[str]:
    """What sorting, filtering and adding up costs whoever asks first."""
    firsts, nexts = [], []
    for number in range(CHANGES):
        added = caller.models / f"added-{number}.bin"
        added.touch()
        # Asked for in another order, which leaves the one that is measured to be made.
        while added.name.encode() not in caller.get(sort="-modified_at", limit=1):
            time.sleep(0.01)
        first, body = caller.timed(limit=LIMIT, **params)
        firsts.append(first)
        nexts.append(caller.timed(limit=LIMIT, cursor=json.loads(body)["next_cursor"], **params)[0])
        added.unlink()
    return [name, f"{statistics.median(firsts):.1f}", f"{statistics.median(nexts):.1f}"]


if __name__ == "__main__":
    main()
