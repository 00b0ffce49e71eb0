"""The parts that the benchmarks share: servers in their own processes, load, and tables."""

import http.client
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

ROOT = Path(__file__).parent.parent
sys.path.append(str(ROOT))  # Python adds only the script's own folder, which does not contain `app`
UNITS_US = {"us": 1.0, "ms": 1e3, "s": 1e6}


class Server:
    """A server on a free port of loopback. Its log goes to a file, because writing the log is part of its work."""

    def __init__(
        self,
        *command: str,
        environment: Mapping[str, str | Path],
        probe: str = "/livez",
        cwd: Path = ROOT,
    ) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by stop()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
        self.started_at = time.perf_counter()
        self.process = subprocess.Popen(
            [sys.executable, *command],
            cwd=cwd,
            env=inherited
            | {"PYTHONPATH": str(ROOT), "OCR_PORT": str(self.port), "BENCH_PORT": str(self.port)}
            | {name: str(value) for name, value in environment.items()},
            stdout=self._log,
            stderr=self._log,
        )
        self.first_answer_seconds = self.wait_for(probe)

    @classmethod
    def service(cls, models_dir: Path, state_dir: Path, **environment: str | Path) -> "Server":
        """Start the service with the real AsposeAI, as users do."""
        folders = {"OCR_MODELS_DIR": models_dir, "OCR_STATE_DIR": state_dir}
        return cls("-m", "app", "serve", environment=folders | environment)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def wait_for(self, path: str, *, since: float | None = None, within: float = 60.0) -> float:
        """Request a path every 2 ms until the status is 200. Return the seconds since `since`, by default the start."""
        since = self.started_at if since is None else since
        while True:
            try:
                if self.get(path)[0] == 200:
                    return time.perf_counter() - since
            except OSError:
                pass
            if self.process.poll() is not None or time.perf_counter() - since > within:
                sys.exit(f"{self.process.args!r} did not answer:\n{os.pread(self._log.fileno(), 1 << 20, 0).decode()}")
            time.sleep(0.002)

    def get(self, path: str, method: str = "GET") -> tuple[int, bytes]:
        """Send one request and return the status and the body."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.terminate()
        self.process.wait(timeout=40)
        self._log.close()


@dataclass(frozen=True)
class Load:
    """The result of one run of wrk."""

    requests_per_second: float
    p50_us: float
    p99_us: float


def wrk(server: Server, path: str, *, seconds: float, connections: int = 32) -> Load:
    """Request one path from one thread, each connection as fast as it gets answers."""
    url = server.url + path
    command = ["wrk", "--latency", "-t1", f"-c{connections}", f"-d{seconds:g}s", "--timeout", "30s", url]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    server.get(
        path
    )  # wait until a slow server has finished wrk's last requests, because the next server needs the core
    if "Non-2xx" in output or "Socket errors" in output:
        sys.exit(f"{url} failed under load:\n{output}")
    percentiles = {
        int(percent): float(number) * UNITS_US[unit]
        for percent, number, unit in re.findall(r"^\s+(50|99)%\s+([\d.]+)(us|ms|s)\s*$", output, re.MULTILINE)
    }
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        sys.exit(f"wrk's output has no rate:\n{output}")
    return Load(float(rate[1]), percentiles[50], percentiles[99])


def fill(folder: Path, count: int) -> Path:
    """Create a model folder with small files: a list does not depend on the size of models."""
    folder.mkdir(parents=True)
    for number in range(count):
        prefix = "old_" if number % 10 == 9 else ""
        (folder / f"{prefix}en_ocr_v{number}.bin").write_bytes(b"x" * (number % 1000))
    return folder


def etag_of(model: Path) -> bytes:
    """Return the JSON of the ETag of this version of a model, which has its size and its time."""
    status = model.stat()
    return rf'"etag":"\"{status.st_size:x}-{status.st_mtime_ns:x}\""'.encode()


def settled(probe: Callable[[], Any], *, seconds: float = 1.0) -> Any:  # noqa: ANN401 - the probe's own result
    """Return the result of `probe` once it has not changed for some seconds."""
    last, since = probe(), time.monotonic()
    while time.monotonic() - since < seconds:
        time.sleep(0.1)
        if (now := probe()) != last:
            last, since = now, time.monotonic()
    return last


def median_ratio(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Return the median of the rounds' ratios. Another program that slows the machine slows both values of a round."""
    return statistics.median(a / b for a, b in zip(ours, theirs, strict=True))


def percentile(values: Iterable[float], percent: float) -> float:
    """Return a percentile of the values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def print_table(title: str, heads: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a Markdown table with aligned columns: the first to the left, numbers to the right."""
    rows = [list(heads), *(list(row) for row in rows)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]

    def line(cells: Sequence[str]) -> str:
        padded = [
            cell.ljust(w) if n == 0 else cell.rjust(w) for n, (cell, w) in enumerate(zip(cells, widths, strict=True))
        ]
        return "| " + " | ".join(padded) + " |"

    print(f"\n{title}\n")
    print(line(rows[0]))
    print("|" + "|".join("-" * (w + 2) if n == 0 else "-" * (w + 1) + ":" for n, w in enumerate(widths)) + "|")
    for row in rows[1:]:
        print(line(row))
    print(flush=True)
