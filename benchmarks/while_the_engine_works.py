"""Measures latency while an engine holds its GIL for two seconds, in its own process and in that of the server.

    python benchmarks/while_the_engine_works.py

Takes two and a half minutes. The call is of the kind that AsposeAI's native code makes, `ctypes.PyDLL`, with a known
duration, in a real engine process with a test engine. Requests are sent at fixed times, whether earlier ones have been
answered or not (an open loop), and latency counts from those times. So a server that stops for two seconds is charged
for every request that waited.

The third server is the service with the real AsposeAI. It does a spell check with a model that never ends, until the
deadline of two seconds. llama.cpp computes on as many threads as there are cores, so that the cores are shared too.
"""

import asyncio
import contextlib
import http.client
import json
import tempfile
import threading
import time
from pathlib import Path

from common import Server, fill, percentile, print_table

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.files import tiny_gguf

PATHS = ("/models", "/livez", "/docs")
MODELS = 100
REQUESTS_PER_SECOND = 200
HOLD_SECONDS = 2.0
MARGIN_SECONDS = 0.05
ROUNDS = 10
SERVERS = ("beside", "correcting", "in_process")
TITLES = {
    "beside": "service, engine beside it",
    "correcting": "service, a real correction",
    "in_process": "FastAPI, engine in its process",
}
CORRECTION = json.dumps({"texts": ["line\n" * 100], "timeout_seconds": HOLD_SECONDS})

Latencies = dict[str, list[float]]


class Client:
    """A client that reuses idle connections and opens another if there is none, so no request waits for another."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    async def get(self, path: str) -> None:
        """Send a request and wait for the whole answer."""
        reader, writer = self._idle.pop() if self._idle else await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(f"GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n".encode())
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200"), head  # noqa: S101 - errors must not be measured
        length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
        await reader.readexactly(int(length.partition(b":")[2]))
        self._idle.append((reader, writer))

    def close(self) -> None:
        for _, writer in self._idle:
            writer.close()


async def ask_steadily(port: int, seconds: float) -> Latencies:
    """Send requests at even times, the paths in turn, and return the latencies, counted from those times."""
    client = Client(port)
    latencies: Latencies = {path: [] for path in PATHS}

    async def ask(path: str, due: float) -> None:
        await client.get(path)
        latencies[path].append(time.perf_counter() - due)

    began = time.perf_counter()
    asked = []
    for number in range(int(seconds * REQUESTS_PER_SECOND)):
        due = began + number / REQUESTS_PER_SECOND
        # The event loop's timer is a millisecond late, longer than an answer takes, so poll the last two milliseconds.
        await asyncio.sleep(max(0.0, due - time.perf_counter() - 0.002))
        while time.perf_counter() < due:  # noqa: ASYNC110 - waits for the clock only
            await asyncio.sleep(0)
        asked.append(asyncio.create_task(ask(PATHS[number % len(PATHS)], due)))
    await asyncio.gather(*asked)
    client.close()
    return latencies


def hold(server: Server, name: str) -> threading.Thread:
    """Start the call of two seconds in a thread, and return once it must have reached the engine."""

    def call() -> None:
        if name == "correcting":
            assert post(server, "/ai/spell-check", CORRECTION) == 504  # noqa: S101 - its deadline
        else:
            assert server.get(f"/hold?seconds={HOLD_SECONDS}")[0] == 200  # noqa: S101

    thread = threading.Thread(target=call)
    thread.start()
    time.sleep(MARGIN_SECONDS)
    return thread


def post(server: Server, path: str, body: str) -> int:
    """POST a JSON body and return the status."""
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=30)
    connection.request("POST", path, body, {"content-type": "application/json"})
    return connection.getresponse().status


def measure(server: Server, name: str) -> tuple[Latencies, Latencies]:
    """Return the latencies while the engine is idle, and while it works."""
    seconds = HOLD_SECONDS - 2 * MARGIN_SECONDS
    if name == "correcting":
        server.wait_for("/readyz")
        assert post(server, "/engine/load", '{"processor": "spell-check"}') == 200  # noqa: S101
    idle = asyncio.run(ask_steadily(server.port, seconds))
    call = hold(server, name)
    during = asyncio.run(ask_steadily(server.port, seconds))
    call.join()
    return idle, during


def main() -> None:
    """Run the rounds and print the table."""
    collected: dict[str, tuple[Latencies, Latencies]] = {
        name: ({path: [] for path in PATHS}, {path: [] for path in PATHS}) for name in SERVERS
    }
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as running:
        models = fill(Path(scratch, "models"), MODELS)
        tiny_gguf.write(models / DEFAULT_MODEL, endless=True)
        servers = {}
        for name in SERVERS:
            folders = {"OCR_MODELS_DIR": models, "OCR_STATE_DIR": Path(scratch, name)}
            command = ("-m", "app", "serve") if name == "correcting" else ("benchmarks/servers.py", name)
            server = servers[name] = running.enter_context(Server(*command, environment=folders))
            if name != "in_process":
                server.wait_for("/readyz")
            asyncio.run(ask_steadily(server.port, 1))  # a warm-up: the first answer of each path is slow
        for _ in range(ROUNDS):
            for name in SERVERS:
                for phase, latencies in zip(collected[name], measure(servers[name], name), strict=True):
                    for path in PATHS:
                        phase[path] += latencies[path]
    print_table(
        f"Milliseconds per answer at {REQUESTS_PER_SECOND} requests per second, engine idle and during a call of "
        f"{HOLD_SECONDS:g} s; {ROUNDS} rounds of each, {MODELS} models",
        ("", "path", "requests", "idle p50", "idle p99", "call p50", "call p99", "p50 ratio", "p99 ratio"),
        [row(name, path, *collected[name]) for name in SERVERS for path in PATHS],
    )


def row(name: str, path: str, idle: Latencies, during: Latencies) -> list[str]:
    """Return a row of the table."""
    figures = [percentile(phase[path], percent) * 1000 for phase in (idle, during) for percent in (50, 99)]
    return [
        TITLES[name],
        path,
        f"{len(during[path]):,}",
        *(f"{figure:,.2f}" for figure in figures),
        *(f"{figures[2 + n] / figures[n]:,.2f}x" for n in (0, 1)),
    ]


if __name__ == "__main__":
    main()
