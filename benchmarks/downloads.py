"""Measures `GET /models/{name}/content` of a file in the kernel's cache, against two plain servers. Takes a minute.

    python benchmarks/downloads.py

The floors send the same file on loopback: `sendfile` is a thread that calls `os.sendfile`, without any HTTP but a
status line; `http.server` is Python's own, which copies 64 KiB at a time.
"""

import functools
import http.client
import http.server
import os
import socket
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

from common import Server, median_ratio, print_table

SIZE = 256 << 20
ROUNDS = 7
PARTIES = ("download", "sendfile", "http.server")


def main() -> None:
    """Run the rounds and print the table."""
    with tempfile.TemporaryDirectory() as scratch:
        models = Path(scratch, "models")
        models.mkdir()
        with (models / "model.gguf").open("wb") as file:
            for _ in range(SIZE >> 20):
                file.write(os.urandom(1 << 20))
        with Server.service(models, Path(scratch, "state")) as service:
            service.wait_for("/models/model.gguf")
            cpu_before = cpu_seconds(service)
            seconds = compare(service, models)
            cpu_per_gib = (cpu_seconds(service) - cpu_before) / ((ROUNDS + 1) * SIZE / (1 << 30))
    rates = {party: [SIZE / 1e6 / each for each in rounds] for party, rounds in seconds.items()}
    print_table(
        f"{SIZE >> 20} MiB over loopback: medians of {ROUNDS} rounds; ratios are medians of the rounds' ratios",
        ("", "MB/s", "least", "most", "download / this"),
        [
            [
                party,
                f"{statistics.median(rates[party]):,.0f}",
                f"{min(rates[party]):,.0f}",
                f"{max(rates[party]):,.0f}",
                f"{median_ratio(rates['download'], rates[party]):.0%}",
            ]
            for party in PARTIES
        ],
    )
    print(f"The service used {cpu_per_gib:.2f} s of processor time for each GiB that it sent.")


def cpu_seconds(service: Server) -> float:
    """Return the processor time that the service's process has used, in seconds."""
    fields = Path(f"/proc/{service.process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def compare(service: Server, models: Path) -> dict[str, list[float]]:
    """Return the seconds of interleaved rounds, without the first."""
    handler = functools.partial(Quiet, directory=str(models))
    with (
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as plain,
        socket.create_server(("127.0.0.1", 0)) as bare,
    ):
        for serve in (plain.serve_forever, functools.partial(send_files, bare, models / "model.gguf")):
            threading.Thread(target=serve, daemon=True).start()
        works: dict[str, Callable[[], None]] = {
            "download": lambda: fetch(service.port, "/models/model.gguf/content"),
            "sendfile": lambda: fetch(bare.getsockname()[1], "/"),
            "http.server": lambda: fetch(plain.server_port, "/model.gguf"),
        }
        seconds: dict[str, list[float]] = {party: [] for party in PARTIES}
        for number in range(ROUNDS + 1):
            for party in PARTIES if number % 2 else reversed(PARTIES):
                began = time.perf_counter()
                works[party]()
                if number:
                    seconds[party].append(time.perf_counter() - began)
        plain.shutdown()
    return seconds


def fetch(port: int, path: str) -> None:
    """Download a file and drop its bytes."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    connection.request("GET", path, headers={"connection": "close"})
    answer, buffer, received = connection.getresponse(), bytearray(1 << 20), 0
    while count := answer.readinto(buffer):
        received += count
    connection.close()
    assert (answer.status, received) == (200, SIZE), (answer.status, received)  # noqa: S101


class Quiet(http.server.SimpleHTTPRequestHandler):
    """Python's own server of files, without a log."""

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Log nothing."""


def send_files(server: socket.socket, path: Path) -> None:
    """Answer each connection with the file, until the process ends."""
    while True:
        try:
            connection, _ = server.accept()
        except OSError:  # closed at the end of the benchmark
            return
        with connection, path.open("rb") as file:
            connection.recv(1 << 16)
            connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % SIZE)
            offset = 0
            while offset < SIZE:
                offset += os.sendfile(connection.fileno(), file.fileno(), offset, SIZE - offset)


if __name__ == "__main__":
    main()
