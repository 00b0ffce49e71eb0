"""Two replicas behind the sample proxies: one is killed by SIGKILL under load, or its machine answers nothing.

What can be repeated is not lost: GET and HEAD are answered as they should be, unless the replica was killed within an
answer, whose head the proxy had already sent on. A change that a replica had begun is answered 502, or HAProxy closes
the connection. The callers here send both again, and at the end everything is there.
TEST_KILLED_REPLICAS is how many times a replica is killed.
"""

import json
import os
import signal
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.clients.tus import CHUNK, upload_metadata
from tests.support.deployed.proxies import KINDS, Proxy, are_installed
from tests.support.hub import Hub
from tests.support.processes import free_port
from tests.support.service import RunningService
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(not are_installed(), reason="nginx and haproxy are not installed; .ci/run installs them"),
]

KILLS = int(os.environ.get("TEST_KILLED_REPLICAS", "4"))
PAUSE_SECONDS = 0.02
PIECE_BYTES = 10_000
UNREACHABLE = {502, 503, 504}
BACKLOG = 1
CUT = "without sending complete message body"
TUS = {"tus-resumable": "1.0.0"}


class Callers:
    """The callers of one proxy, each with one kind of request."""

    def __init__(self, proxy: Proxy, hub: Hub) -> None:
        self.proxy, self._hub = proxy, hub
        self.answered: Counter[str] = Counter()
        self.repeated: Counter[str] = Counter()
        """How many changes were not answered and sent again, by the kind of change and what the caller saw."""
        self.wrong: list[str] = []
        self.contents: dict[str, bytes] = {}
        """The models that were uploaded or pulled."""

    def kinds(self) -> list[Callable[[httpx.Client, int], None]]:
        """Return a function for each kind of request."""
        return [*[self._list] * 3, self._head, self._storage, self._recognise, self._upload, self._pull]

    def live(self, act: Callable[[httpx.Client, int], None], is_over: threading.Event) -> None:
        """Send requests of one kind until `is_over` is set."""
        with httpx.Client(base_url=self.proxy.url, timeout=120) as client:
            number = 0
            while not is_over.wait(PAUSE_SECONDS):
                number += 1
                try:
                    act(client, number)
                except (httpx.TransportError, AssertionError) as exc:
                    self.wrong.append(f"{self.proxy.kind} {act.__name__}: {exc!r}"[:300])

    def _list(self, client: httpx.Client, number: int) -> None:
        self._once(lambda: client.get("/models"))

    def _head(self, client: httpx.Client, number: int) -> None:
        self._once(lambda: client.head("/models"))

    def _storage(self, client: httpx.Client, number: int) -> None:
        self._once(lambda: client.get("/storage"))

    def _once(self, ask: Callable[[], httpx.Response]) -> None:
        """Ask, and again only if the answer was cut within its body."""
        while True:
            try:
                answer = ask()
                break
            except httpx.RemoteProtocolError as exc:
                if CUT not in str(exc):
                    raise
                self.repeated[CUT] += 1
        assert answer.status_code == 200, f"{answer.status_code} {answer.text}"
        self.answered[f"{answer.request.method} {answer.request.url.path}"] += 1

    def _recognise(self, client: httpx.Client, number: int) -> None:
        image, headers = f"read {number}".encode(), {"content-type": "image/png"}
        answer = self._until_answered("POST /ocr", lambda: client.post("/ocr", content=image, headers=headers))
        assert (answer.status_code, answer.json()["text"]) == (200, str(number))

    def _pull(self, client: httpx.Client, number: int) -> None:
        """Begin a pull, again with the same body if there is no answer; 200 is the pull that exists already."""
        name, content = f"pulled-{self.proxy.kind}-{number}.bin", os.urandom(1000)
        body = {"url": self._hub.put(f"/{name}", content), "name": name}
        answer = self._until_answered("POST /pulls", lambda: client.post("/pulls", json=body))
        assert answer.status_code in {200, 202}, answer.text
        self.contents[name] = content

    def _upload(self, client: httpx.Client, number: int) -> None:
        """Upload a model in pieces. After a broken piece ask for the offset, and go on there."""
        name, content = f"{self.proxy.kind}-{number}.bin", os.urandom(3 * PIECE_BYTES)
        fields = {"upload-length": str(len(content)), "upload-metadata": upload_metadata(filename=name)}
        begun = self._until_answered("POST /uploads", lambda: client.post("/uploads", headers=TUS | fields))
        assert begun.status_code == 201, begun.text
        path, offset = begun.headers["location"], 0

        def patch() -> httpx.Response:
            nonlocal offset
            offset = int(client.head(path, headers=TUS).raise_for_status().headers["upload-offset"])
            if offset == len(content):  # the answer to the last piece was lost
                return httpx.Response(204)
            piece = content[offset : offset + PIECE_BYTES]
            return client.patch(path, content=piece, headers=CHUNK | {"upload-offset": str(offset)})

        while offset + PIECE_BYTES < len(content):
            answer = self._until_answered("PATCH /uploads", patch)
            assert answer.status_code == 204, answer.text
        self.contents[name] = content

    def _until_answered(self, what: str, send: Callable[[], httpx.Response]) -> httpx.Response:
        """Send a change until it is answered by the service; only HAProxy may close a connection instead of a 502."""
        while True:
            try:
                answer = send()
            except httpx.RemoteProtocolError:
                assert self.proxy.kind == "haproxy"
                self.repeated[f"{what}: closed"] += 1
                continue
            if answer.status_code not in UNREACHABLE:
                self.answered[what] += 1
                return answer
            assert answer.headers["content-type"] == "application/problem+json", answer.text
            slug = answer.json()["type"].rpartition(":")[2]
            assert slug in {"proxy-unreachable", "engine-not-ready"}, answer.text
            assert answer.headers["retry-after"]
            self.repeated[f"{what}: {answer.status_code} {slug}"] += 1
            threading.Event().wait(PAUSE_SECONDS)


@pytest.fixture
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def start(stack: ExitStack, folder: Path, port: int, **settings: Any) -> RunningService:
    """Start a service on a port and wait until it is ready."""
    settings = settings | {"engine_class": "tests.support.engines:Reads", "engine_queue_size": 100, "max_uploads": 100}
    return stack.enter_context(RunningService(folder, port=port, **settings)).wait_until_ready()


def wait_for_answers(callers: list[Callers]) -> None:
    """Wait until the callers of each proxy have got some more answers."""
    before = [each.answered.total() for each in callers]
    for each, count in zip(callers, before, strict=True):
        eventually(lambda: each.answered.total() > count + 20, within=60)  # noqa: B023 - called in this iteration


def test_a_killed_replica_loses_nothing_that_can_be_repeated(hub: Hub, tmp_path: Path) -> None:
    """The replicas are killed in turn, each as soon as the other one is ready: a proxy may not know that yet."""
    with ExitStack() as stack:
        ports = [free_port(), free_port()]
        allowed = {"pull_allowed_urls": hub.cdn_url}
        replicas = [start(stack, tmp_path, port, **allowed) for port in ports]
        proxies = [stack.enter_context(Proxy(kind, tmp_path, ports)).wait_until_ready() for kind in KINDS]
        callers = [Callers(proxy, hub) for proxy in proxies]
        is_over, acts = threading.Event(), [(caller, act) for caller in callers for act in caller.kinds()]
        with ThreadPoolExecutor(len(acts)) as threads:
            running = [threads.submit(caller.live, act, is_over) for caller, act in acts]
            try:
                wait_for_answers(callers)
                for number in range(KILLS):
                    index = number % len(ports)
                    replicas[index].stop(signal.SIGKILL)
                    wait_for_answers(callers)
                    replicas[index] = start(stack, tmp_path, ports[index], **allowed)
                wait_for_answers(callers)
            finally:
                is_over.set()
            for future in running:
                future.result()
        for each in callers:
            print(json.dumps({each.proxy.kind: each.answered, "repeated": each.repeated, "wrong": each.wrong}))
            assert each.wrong == []
            assert each.repeated[CUT] <= KILLS
            assert each.contents
            for name, content in each.contents.items():
                path = replicas[0].models_dir / name
                assert eventually(lambda: path.exists() and path.read_bytes(), within=60) == content, name  # noqa: B023


@pytest.fixture
def silent_port() -> Iterator[int]:
    """A port that does not answer a SYN, as that of a machine that is gone: its queue of connections is full."""
    with ExitStack() as stack:
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=BACKLOG))
        port = int(listener.getsockname()[1])
        for _ in range(BACKLOG + 5):
            waiting = stack.enter_context(socket.socket())
            waiting.settimeout(0)
            waiting.connect_ex(("127.0.0.1", port))
        yield port


@pytest.mark.parametrize("kind", KINDS)
def test_a_replica_whose_machine_is_gone_is_left_out(kind: str, silent_port: int, tmp_path: Path) -> None:
    """A request that a proxy cannot connect to one replica is sent to the other one, a POST too."""
    with ExitStack() as stack:
        service = start(stack, tmp_path, 0)
        port = service.client.base_url.port
        assert port
        proxy = stack.enter_context(Proxy(kind, tmp_path, [silent_port, port]))
        image, headers = b"read 1", {"content-type": "image/png"}
        for _ in range(3):
            assert proxy.client.get("/models").status_code == 200
            assert proxy.client.post("/ocr", content=image, headers=headers).json()["text"] == "1"
