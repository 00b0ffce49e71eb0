"""Compares a recognition by the service with the vendor's call in a process of its own, on the same pages.

    python benchmarks/recognition_overhead.py [ROUNDS]

Ten rounds take about three minutes on a quiet machine. Needs the native libraries (`python -m app provision`). Each
round recognises each page once with both, one directly after the other; every other round begins with the other one.
Both processes have read every page once before the first round, and run at the same priority. The vendor's process
gets the path of the file; the service gets the bytes over HTTP, checks them, and answers JSON. The CPU seconds of the
service are those of its engine process and of the service's own process.
"""

import statistics
import sys
import tempfile
from pathlib import Path

from common import median_ratio, print_table
from recognisers import Cost, Reader, encoded, page, vendor_alone

ROOT = Path(__file__).parents[1]
ROUNDS = 10
PAGES = {
    "two lines of 40 characters": [
        "The harbour was quiet when the boats came",
        "home, and nobody on the pier had seen it",
    ],
    "four lines of 20 characters": [
        "Invoice 4711 of 26 May",
        "Total 1,250.00 EUR",
        "Due within 30 days",
        "to Smith and Sons",
    ],
    "three lines of 30 characters": [
        "Delivered on Monday by lorry,",
        "eleven boxes of paper with",
        "eighty sheets in each of them",
    ],
}
SAMPLE = "a full page, docs/sample-page.png"


def main(rounds: int) -> None:
    """Time the rounds and print the table."""
    costs: dict[str, list[tuple[Cost, Cost]]] = {name: [] for name in PAGES}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = {name: folder / f"{number}.png" for number, name in enumerate(PAGES)}
        for name, lines in PAGES.items():
            files[name].write_bytes(encoded(page(lines, 28).convert("L")))
        costs[SAMPLE], files[SAMPLE] = [], ROOT / "docs/sample-page.png"
        with Reader(folder) as service, vendor_alone(folder) as read_alone:

            def serve(file: Path) -> Cost:
                response, cost = service.read(file.read_bytes())
                response.raise_for_status()
                return cost

            for number in range(rounds + 1):  # the first round loads the vendor's networks
                for name, file in files.items():
                    if number % 2:
                        ours, theirs = serve(file), read_alone(file)
                    else:
                        theirs, ours = read_alone(file), serve(file)
                    if number:
                        costs[name].append((ours, theirs))
    everything = [pair for pairs in costs.values() for pair in pairs]
    print_table(
        f"Medians of {rounds} rounds; the ratios of pairs are medians of the ratios of each round",
        (
            "page",
            "service, s",
            "vendor, s",
            "ratio of medians",
            "ratio of pairs",
            "service, CPU s",
            "vendor, CPU s",
            "ratio of medians, CPU",
            "ratio of pairs, CPU",
        ),
        [row(name, pairs) for name, pairs in (*costs.items(), ("all", everything))],
    )


def row(name: str, pairs: list[tuple[Cost, Cost]]) -> tuple[str, ...]:
    """Return the row of a page."""
    waited = [(ours.seconds, theirs.seconds) for ours, theirs in pairs]
    used = [(ours.cpu_seconds + ours.around_cpu_seconds, theirs.cpu_seconds) for ours, theirs in pairs]
    return (name, *compared(waited), *compared(used))


def compared(pairs: list[tuple[float, float]]) -> tuple[str, ...]:
    """Return both medians, their ratio, and the median of the pairs' ratios."""
    ours, theirs = zip(*pairs, strict=True)
    mine, other = statistics.median(ours), statistics.median(theirs)
    return f"{mine:.2f}", f"{other:.2f}", f"{mine / other:.3f}", f"{median_ratio(ours, theirs):.3f}"


if __name__ == "__main__":
    main(int(sys.argv[1]) if sys.argv[1:] else ROUNDS)
