"""Attacks on connections, with slowhttptest and by hand: the memory and descriptors of the service stay within bounds.

Each attack prints the resident memory and the descriptors of the service: before, at most, after. The service must
answer `/livez` on new connections all the time. TEST_ATTACK_SECONDS is how long each attack lasts.
"""

import contextlib
import itertools
import os
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import psutil
import pytest

from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

pytestmark = pytest.mark.slow

SECONDS = int(os.environ.get("TEST_ATTACK_SECONDS", "2"))
DESCRIPTORS = 512
"""The limit of the attacked service; half of it are connections at most."""
MEMORY_BYTES = 64 << 20
"""How much an attack may add to the resident memory."""
ATTACKERS = 8
"""How many connections send without a pause at the same time."""

Attack = Callable[[RunningService, float], None]
"""Attacks a service until a time of `time.monotonic`."""


class Watch:
    """Samples a service's memory and descriptors, and asks `/livez` on a new connection each time."""

    def __init__(self, service: RunningService) -> None:
        self._service, self._process = service, psutil.Process(service.process.pid)
        self._over = threading.Event()
        self._threads = [threading.Thread(target=each) for each in (self._look, self._ask)]
        self.before = self.most = self.last = self.sample()
        self.answers: list[int | str] = []
        """The status of each answer, or the error in its place."""
        self.slowest_seconds = 0.0

    def __enter__(self) -> "Watch":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join()

    def sample(self) -> tuple[int, int]:
        return self._process.memory_info().rss, self._process.num_fds()

    def _look(self) -> None:
        while not self._over.wait(0.1):
            self.last = self.sample()
            self.most = (max(self.most[0], self.last[0]), max(self.most[1], self.last[1]))

    def _ask(self) -> None:
        while not self._over.wait(0.1):
            began = time.monotonic()
            try:
                self.answers.append(httpx.get(f"{self._service.url}/livez", timeout=30).status_code)
            except httpx.HTTPError as exc:
                self.answers.append(repr(exc))
            self.slowest_seconds = max(self.slowest_seconds, time.monotonic() - began)


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service with few descriptors and with short times, so that each attack meets them."""
    settings = {
        "engine_class": ECHO,
        "head_timeout": "1s",
        "body_timeout": "1s",
        "upload_stall_timeout": "1s",
        "keep_alive": "2s",
    }
    wrapper = ("prlimit", f"--nofile={DESCRIPTORS}:{DESCRIPTORS}")
    folder = tmp_path_factory.mktemp("attacked")
    with RunningService(folder, wrapper=wrapper, **settings) as service:
        for number in range(2000):  # so that a list is larger than the buffers of a connection
            (service.models_dir / f"{'a' * 100}-{number}.bin").touch()
        eventually(lambda: service.client.get("/models").json()["count"] == 2000, within=30)
        yield service.wait_until_ready()


def slowhttptest(mode: str, path: str, *options: str) -> Attack:
    """Return an attack by the program slowhttptest in one of its modes: H, B, R or X."""

    def attack(service: RunningService, until: float) -> None:
        if not (program := shutil.which("slowhttptest")):
            pytest.skip("slowhttptest is not installed")
        seconds = str(max(1, round(until - time.monotonic())))
        command = [program, f"-{mode}", "-c", "600", "-r", "300", "-i", "1", "-l", seconds, "-p", "1", *options]
        subprocess.run([*command, "-u", service.url + path], capture_output=True, check=False, timeout=90)

    return attack


def endless(first: str, chunk: bytes) -> Attack:
    """Return an attack by connections that send a beginning and then the same bytes without an end."""

    def attack(service: RunningService, until: float) -> None:
        address = urlsplit(service.url)
        begin = first.replace("HOST", address.netloc).encode()

        def send(_: int) -> None:
            while time.monotonic() < until:
                with (
                    contextlib.suppress(OSError),
                    socket.create_connection((address.hostname, address.port), timeout=5) as connection,
                ):
                    connection.sendall(begin)
                    while time.monotonic() < until:
                        connection.sendall(chunk)

        with ThreadPoolExecutor(ATTACKERS) as threads:
            list(threads.map(send, range(ATTACKERS)))

    return attack


def flood(begin: bytes) -> Attack:
    """Return an attack by three times as many connections as the service has descriptors; each sends a beginning."""

    def attack(service: RunningService, until: float) -> None:
        address = urlsplit(service.url)
        with contextlib.ExitStack() as opened:
            for count in itertools.count():
                if time.monotonic() > until:
                    break
                if count < 3 * DESCRIPTORS:
                    with contextlib.suppress(OSError):
                        made = socket.create_connection((address.hostname, address.port), timeout=5)
                        opened.enter_context(made).sendall(begin)
                else:
                    time.sleep(0.05)

    return attack


JSON = "HTTP/1.1\r\nhost: HOST\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
FORM = "HTTP/1.1\r\nhost: HOST\r\ncontent-type: multipart/form-data; boundary=x\r\ntransfer-encoding: chunked\r\n\r\n"
FULL_CHUNK = b"10000\r\n" + b"[" * 65536 + b"\r\n"
PART = b'--x\r\ncontent-disposition: form-data; name="a"\r\n\r\nb\r\n'
PARTS = b"%x\r\n%b\r\n" % (len(PART) * 1000, PART * 1000)
ATTACKS = {
    "slowloris": slowhttptest("H", "/models"),
    "slow body": slowhttptest("B", "/prune", "-t", "POST", "-s", "8192", "-f", "application/json"),
    "range": slowhttptest("R", "/docs/swagger-ui-bundle.js"),
    "slow read": slowhttptest("X", "/models", "-w", "1", "-y", "10", "-n", "1", "-z", "5", "-k", "3"),
    "endless trailers": endless(f"POST /prune {JSON}0\r\n", b"a: b\r\n" * 10_000),
    "endless trailers of a probe": endless(f"POST /livez {JSON}0\r\n", b"a: b\r\n" * 10_000),
    "endless chunk extension": endless(f"POST /prune {JSON}1;", b"a" * 65536),
    "endless head": endless("GET /models HTTP/1.1\r\nhost: HOST\r\n", b"a: b\r\n"),
    "endless heads in one read": endless("", b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 40_000 + b"\r\n"),
    "endless target": endless("GET /", b"a" * 65536),
    "endless pipeline": endless("", b"GET /models HTTP/1.1\r\nhost: localhost\r\n\r\n" * 1000),
    "endless JSON of a prune": endless(f"POST /prune {JSON}", FULL_CHUNK),
    "endless JSON of a protection": endless(f"PUT /models/a/protection {JSON}", FULL_CHUNK),
    "endless JSON of texts": endless(f"POST /ai/spell-check {JSON}", FULL_CHUNK),
    "endless JSON of nothing": endless(f"POST /nowhere {JSON}", FULL_CHUNK),
    "endless form": endless(f"POST /ocr {FORM}", PARTS),
    "endless header of a part": endless(f"POST /ocr {FORM}9\r\n--x\r\na: b\r\n", b"10000\r\n" + b"a" * 65536 + b"\r\n"),
    "endless preamble of a form": endless(f"POST /ocr {FORM}", b"10000\r\n" + b"\r\n" * 32768 + b"\r\n"),
    "idle connections": flood(b""),
    "half heads": flood(b"GET /models HTTP/1.1\r\nhost: "),
    "half bodies": flood(b"PUT /models/a HTTP/1.1\r\nhost: localhost\r\ncontent-length: 9\r\n\r\n"),
}


@pytest.mark.parametrize("name", ATTACKS)
def test_an_attack_takes_bounded_memory_and_descriptors(
    attacked: RunningService, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """During an attack probes are answered, and memory and descriptors stay in bounds; after it, all is as before."""
    with Watch(attacked) as watch:
        ATTACKS[name](attacked, time.monotonic() + SECONDS)
        # Some descriptors come and go, such as those of the probe's connection and of a scan of the folder.
        eventually(lambda: watch.last[1] <= watch.before[1] + 4, within=30)

    figures = [f"{memory >> 20} MiB {count} fds" for memory, count in (watch.before, watch.most, watch.last)]
    with capsys.disabled():
        print(
            f"\n{name}: {', '.join(figures)}; /livez {len(watch.answers)} times, {watch.slowest_seconds:.2f} s at most"
        )
    assert set(watch.answers) == {200}
    assert watch.most[0] - watch.before[0] < MEMORY_BYTES
    assert watch.most[1] < DESCRIPTORS
    assert attacked.client.get("/models/path").status_code == 200
    crashes = [line for line in attacked.log.splitlines() if '"request.crashed"' in line or "part_failed" in line]
    assert not crashes
    assert Path(f"/proc/{attacked.process.pid}").exists()
