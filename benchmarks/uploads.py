"""Measures `PUT /models/{name}` of one gibibyte, against copying and hashing the same file. Takes two minutes.

    python benchmarks/uploads.py

An upload is on the disk before its answer. So is the copy in the row with `sync`.
"""

import http.client
import os
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from common import Server, median_ratio, print_table

SIZE = 1 << 30
ROUNDS = 7
PARTIES = ("upload", "cp", "cp and sync", "sha256sum")


def main() -> None:
    """Run the rounds and print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        source, copy = Path(scratch, "source.gguf"), Path(scratch, "copy.gguf")
        with source.open("wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
        with Server.service(Path(scratch, "models"), Path(scratch, "state"), OCR_TRASH_RETENTION="0") as service:
            service.wait_for("/readyz")
            seconds = compare(service, source, copy)
    rates = {party: [SIZE / 1e6 / each for each in rounds] for party, rounds in seconds.items()}
    slower = [min(pair) for pair in zip(rates["cp"], rates["sha256sum"], strict=True)]
    print_table(
        f"1 GiB over loopback: medians of {ROUNDS} rounds; ratios are medians of the rounds' ratios",
        ("", "MB/s", "least", "most", "upload / this"),
        [
            [
                party,
                f"{statistics.median(rates[party]):,.0f}",
                f"{min(rates[party]):,.0f}",
                f"{max(rates[party]):,.0f}",
                f"{median_ratio(rates['upload'], rates[party]):.0%}",
            ]
            for party in PARTIES
        ]
        + [["the slower of cp and sha256sum", "", "", "", f"{median_ratio(rates['upload'], slower):.0%}"]],
    )


def compare(service: Server, source: Path, copy: Path) -> dict[str, list[float]]:
    """Return the seconds of interleaved rounds, without the first. Each step begins with a synced disk."""

    def upload() -> None:
        connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=60, blocksize=1 << 20)
        with source.open("rb") as file:
            connection.request("PUT", "/models/model.gguf", file, {"content-length": str(SIZE)})
        answer = connection.getresponse()
        answer.read()
        connection.close()
        assert answer.status == 201, answer.status  # noqa: S101

    def run(*command: object) -> None:
        subprocess.run([str(part) for part in command], check=True, stdout=subprocess.DEVNULL)

    def copy_and_sync() -> None:
        run("cp", source, copy)
        run("sync", copy)

    works: dict[str, Callable[[], None]] = {
        "upload": upload,
        "cp": lambda: run("cp", source, copy),
        "cp and sync": copy_and_sync,
        "sha256sum": lambda: run("sha256sum", source),
    }
    seconds: dict[str, list[float]] = {party: [] for party in PARTIES}
    for number in range(ROUNDS + 1):
        for party in PARTIES if number % 2 else reversed(PARTIES):
            began = time.perf_counter()
            works[party]()
            if number:
                seconds[party].append(time.perf_counter() - began)
            copy.unlink(missing_ok=True)
            service.get("/models/model.gguf?permanent=true", "DELETE")
            os.sync()
    return seconds


if __name__ == "__main__":
    main()
