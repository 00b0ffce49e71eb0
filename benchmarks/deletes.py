"""Measures `DELETE /models/{name}` in folders with few and with many models. Takes four minutes.

    python benchmarks/deletes.py

One client on one connection deletes one model after another. Each deletion moves the model to the trash; its record and
its journal line are on the disk before the answer. The floor does the same disk operations by hand in the same rounds.
"""

import contextlib
import http.client
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from common import Server, fill, median_ratio, percentile, print_table, settled

COUNTS = (10, 1_000, 100_000)
ROUNDS, DELETIONS = 9, 40


class Party:
    """A service with its own folder, and one connection to it."""

    def __init__(self, server: Server, models: Path) -> None:
        self._models = models
        self._connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)

    def round(self, number: int) -> list[float]:
        """Create some models, wait until they are listed, and return the milliseconds of each deletion."""
        self._connection.close()  # the service closes a connection that was idle during the other parties' rounds
        names = [f"new-{number}-{each}.bin" for each in range(DELETIONS)]
        for name in names:
            (self._models / name).write_bytes(b"x" * 1000)
        while f'"count":{DELETIONS},' not in self._ask("GET", f"/models?limit=1&name=new-{number}-*"):
            time.sleep(0.02)
        taken = []
        for name in names:
            began = time.perf_counter()
            self._ask("DELETE", f"/models/{name}")
            taken.append((time.perf_counter() - began) * 1000)
        self._ask("DELETE", "/trash")
        return taken

    def _ask(self, method: str, path: str) -> str:
        self._connection.request(method, path)
        answer = self._connection.getresponse()
        body = answer.read().decode()
        return body if answer.status == 200 else sys.exit(body)


class Floor:
    """The writes that a deletion needs: a synced record and journal line, and a rename between two synced folders."""

    def __init__(self, folder: Path) -> None:
        self._models, self._trash = folder / "models", folder / "trash"
        for path in (self._models, self._trash):
            path.mkdir(parents=True)
        self._journal = os.open(folder / "journal", os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def round(self, number: int) -> list[float]:
        """Create some files and return the milliseconds that these writes take for each."""
        taken = []
        for each in range(DELETIONS):
            model = self._models / f"new-{number}-{each}.bin"
            model.write_bytes(b"x" * 1000)
            began = time.perf_counter()
            with (self._trash / f"{model.name}.json").open("xb") as record:
                record.write(b"x" * 200)
                record.flush()
                os.fsync(record.fileno())
            self._sync(self._trash)
            model.rename(self._trash / model.name)
            self._sync(self._models)
            self._sync(self._trash)
            os.write(self._journal, b"x" * 200)
            os.fsync(self._journal)
            taken.append((time.perf_counter() - began) * 1000)
        return taken

    @staticmethod
    def _sync(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)


@contextlib.contextmanager
def party_of(count: int) -> Iterator[Party]:
    """Run a service with a number of models."""
    with tempfile.TemporaryDirectory() as scratch:
        models = fill(Path(scratch, "models"), count)
        with Server.service(models, Path(scratch, "state"), OCR_ENGINE_CLASS="tests.support.engines:Echo") as server:
            server.wait_for("/readyz")
            settled(lambda: server.get("/models?limit=1")[1])
            yield Party(server, models)


def main() -> None:
    """Run the rounds and print the table."""
    with contextlib.ExitStack() as running:
        floor = Floor(Path(running.enter_context(tempfile.TemporaryDirectory())))
        parties: dict[str, Party | Floor] = {"floor: the disk's part, by hand": floor}
        parties |= {f"of {count:,}": running.enter_context(party_of(count)) for count in COUNTS}
        rounds: dict[str, list[list[float]]] = {name: [] for name in parties}
        for number in range(ROUNDS + 1):
            for name in parties if number % 2 else reversed(parties):
                taken = parties[name].round(number)
                if number:
                    rounds[name].append(taken)
    medians = {name: [statistics.median(taken) for taken in each] for name, each in rounds.items()}
    rows = []
    for name, each in rounds.items():
        everything = [taken for one in each for taken in one]
        few = medians[f"of {COUNTS[0]:,}"]
        rows.append(
            [
                name,
                f"{statistics.median(medians[name]):.2f}",
                f"{percentile(everything, 99):.2f}",
                f"{median_ratio(medians[name], few):.2f}x",
            ]
        )
    print_table(
        f"Milliseconds to delete a model, {ROUNDS} interleaved rounds of {DELETIONS}: medians of rounds, p99 of all; "
        "ratios are medians of the rounds' ratios",
        ("", "p50", "p99", f"against {COUNTS[0]}"),
        rows,
    )


if __name__ == "__main__":
    main()
