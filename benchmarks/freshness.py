"""Measures how old an answer of GET /models can be, while 32 connections poll and scans run. Needs wrk; ten minutes.

    python benchmarks/freshness.py [CHECKOUT ...]

Each CHECKOUT is a folder with another version of the service; it is measured in turn with this one. The service is
`python -m app serve` with the real AsposeAI, but its safety scan, which finds what the kernel does not report, starts
again 2 s after the last one instead of after 10 s or 50 times its duration. So most changes meet a running scan.
"""

import argparse
import contextlib
import http.client
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

from common import ROOT, Server, etag_of, fill, percentile, print_table, settled

COUNTS = (10_000, 100_000)
PATHS = {"first page": "/models?limit=100", "whole list": "/models"}
CHANGES, CONNECTIONS = 200, 32
SERVE = """
import app.store.inventory_watcher as watcher
watcher.SAFETY_RESCAN_SECONDS, watcher.SAFETY_SHARE = 2.0, 0
from app.cli.main import main
main(["serve"])
"""
CONDITIONAL = """
local etag = nil
request = function()
    if etag then return wrk.format("GET", nil, {["If-None-Match"] = etag}) end
    return wrk.format("GET")
end
response = function(status, headers)
    if headers["etag"] then etag = headers["etag"] end
end
"""
"""A script of wrk: each request names the version that the last answer had."""


def main() -> None:
    """Run the measurements and print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkouts", nargs="*", type=Path, metavar="CHECKOUT")
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS, help="numbers of models")
    parser.add_argument("--lists", choices=PATHS, nargs="+", default=list(PATHS), help="which list the load requests")
    parser.add_argument("--changes", type=int, default=CHANGES)
    arguments = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is needed: apt-get install wrk")
    rows = []
    for count in arguments.counts:
        with tempfile.TemporaryDirectory() as scratch:
            models = fill(Path(scratch, "models"), count)
            for shown in arguments.lists:
                for checkout in [*(path.resolve() for path in arguments.checkouts), ROOT]:
                    with service_of(checkout, models, Path(scratch, "state")) as service:
                        settled(lambda: service.get(PATHS["first page"])[1])
                        with load_on(service, PATHS[shown], Path(scratch)):
                            delays = freshness(service, models, arguments.changes)
                    rows.append(row(count, shown, checkout, delays))
                    print(*rows[-1], file=sys.stderr)
    print_table(
        f"Seconds from a change by another process until GET /models shows it; {arguments.changes} changes, "
        f"{CONNECTIONS} connections that poll as fast as they can, half of them with If-None-Match",
        ("models", "the load requests", "version", "median", "p99", "worst", "add", "replace", "grow", "remove"),
        rows,
    )


def service_of(checkout: Path, models: Path, state: Path) -> Server:
    """Start the service of a checkout on a folder, with frequent safety scans, and wait until it is ready."""
    environment = {"OCR_MODELS_DIR": models, "OCR_STATE_DIR": state, "PYTHONPATH": checkout}
    server = Server("-c", SERVE, cwd=checkout, environment=environment)
    server.wait_for("/readyz")
    return server


@contextlib.contextmanager
def load_on(service: Server, path: str, scratch: Path) -> Iterator[None]:
    """Load the service until the end of the block: one half of the connections with If-None-Match."""
    script = scratch / "conditional.lua"
    script.write_text(CONDITIONAL)
    wrk = ["wrk", "-t1", f"-c{CONNECTIONS // 2}", "-d3600s", "--timeout", "60s"]
    loads = [
        subprocess.Popen([*wrk, *options, service.url + path], stdout=subprocess.DEVNULL)
        for options in ((), ("-s", str(script)))
    ]
    try:
        time.sleep(2)
        yield
    finally:
        for load in loads:
            load.terminate()
            load.wait()


def freshness(service: Server, models: Path, changes: int) -> dict[str, list[float]]:
    """Change a file from this process and poll the first page until it shows that. Return the seconds by kind."""
    delays: dict[str, list[float]] = {"add": [], "replace": [], "grow": [], "remove": []}
    model, draft = models / "!fresh.bin", models / ".fresh.part"  # the first by name
    kinds: dict[str, Callable[[], object]] = {
        "add": lambda: model.write_bytes(b"added"),
        "replace": lambda: (draft.write_bytes(b"other"), draft.replace(model)),
        "grow": lambda: os.truncate(model, 1000),
        "remove": model.unlink,
    }
    connection = http.client.HTTPConnection("127.0.0.1", service.port, timeout=120)
    with contextlib.closing(connection):
        for number in range(changes):
            kind = list(kinds)[number % len(kinds)]
            time.sleep(random.uniform(0.1, 0.5))
            kinds[kind]()
            began = time.perf_counter()
            shown = etag_of(model) if kind != "remove" else b'"name":"!fresh.bin"'
            while (shown in body_of(connection)) == (kind == "remove"):
                if time.perf_counter() - began > 120:
                    sys.exit(f"{kind} was not seen within 120 s")
                time.sleep(0.005)
            delays[kind].append(time.perf_counter() - began)
    return delays


def body_of(connection: http.client.HTTPConnection) -> bytes:
    """Return the first page."""
    connection.request("GET", PATHS["first page"])
    return connection.getresponse().read()


def row(count: int, shown: str, checkout: Path, delays: dict[str, list[float]]) -> list[str]:
    """Return a row of the table."""
    everything = [seconds for kind in delays.values() for seconds in kind]
    return [
        f"{count:,}",
        shown,
        "this" if checkout == ROOT else checkout.name,
        f"{statistics.median(everything):.2f}",
        f"{percentile(everything, 99):.2f}",
        *(f"{max(kind):.2f}" for kind in (everything, *delays.values())),
    ]


if __name__ == "__main__":
    main()
