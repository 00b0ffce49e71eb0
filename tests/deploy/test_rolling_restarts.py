"""Rolling restarts of three replicas behind the sample proxies while callers send changes and jobs of several files.

Callers send requests through both proxies at once. A caller knows what was answered, so the test knows what must be in
the folder at the end. TEST_ROLLING_RESTARTS is how many times each replica is stopped.
"""

import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.clients.jobs import finished_job
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

RESTARTS = int(os.environ.get("TEST_ROLLING_RESTARTS", "1"))
PAUSE_SECONDS = 0.05
COUNT = 3
"""How many replicas there are."""
UNITS = 3
"""How many files each job has."""
STARTING = ("engine-not-ready", "queue-unavailable")
"""nginx sends requests to a replica that has started, but not its engine, and has not connected to the database of the
queue; the caller sends the request again."""


@dataclass
class Answered:
    """What the callers of one proxy got."""

    counts: Counter[str] = field(default_factory=Counter)
    """How many requests of each kind were answered as they should be."""
    lost: list[str] = field(default_factory=list)
    """The requests that were not, and how."""
    models: dict[str, bytes] = field(default_factory=dict)
    """The models whose upload was answered as complete."""
    pulls: list[str] = field(default_factory=list)
    jobs: dict[str, list[str]] = field(default_factory=dict)
    """The text of each file, by the path of the job that was accepted."""


class Callers:
    """Callers of one proxy, each with one kind of request."""

    def __init__(self, proxy: Proxy, hub: Hub) -> None:
        self._proxy, self._hub = proxy, hub
        self.answered = Answered()
        self._chunks: dict[int, tuple[str, bytes]] = {}

    def kinds(self) -> list[Callable[[httpx.Client, int], None]]:
        """Return a function for each kind of request."""
        return [self._read, self._upload, self._upload_in_chunks, self._pull, self._recognise, self._begin_job]

    def live(self, act: Callable[[httpx.Client, int], None], is_over: threading.Event) -> None:
        """Send requests of one kind until `is_over` is set."""
        with httpx.Client(base_url=self._proxy.url, timeout=120) as client:
            number = 0
            while not is_over.is_set():
                number += 1
                try:
                    act(client, number)
                except (httpx.TransportError, AssertionError) as exc:
                    self.answered.lost.append(f"{self._proxy.kind} {act.__name__}: {exc}"[:300])
                time.sleep(PAUSE_SECONDS)

    def _expect(self, what: str, send: Callable[[], httpx.Response], *statuses: int) -> httpx.Response:
        """Send a request and count it. A replica that is starting may ask to send a request again."""
        while (answer := send()).status_code == 503 and any(slug in answer.text for slug in STARTING):
            self.answered.counts["sent again to a starting replica"] += 1
            time.sleep(0.5)
        assert answer.status_code in statuses, f"{what}: {answer.status_code} {answer.text}"
        self.answered.counts[what] += 1
        return answer

    def _read(self, client: httpx.Client, number: int) -> None:
        self._expect("GET /models", lambda: client.get("/models"), 200)

    def _upload(self, client: httpx.Client, number: int) -> None:
        name, content = f"{self._proxy.kind}-{number}.bin", os.urandom(20_000)
        self._expect("PUT /models", lambda: client.put(f"/models/{name}", content=content), 201)
        self.answered.models[name] = content

    def _upload_in_chunks(self, client: httpx.Client, number: int) -> None:
        """Begin an upload, or go on with the one that broke: ask for the offset and send a third of the content."""
        path, content = self._chunks.get(0) or self._begin_chunks(client, number)
        head = self._expect("HEAD /uploads", lambda: client.head(path, headers={"tus-resumable": "1.0.0"}), 200)
        offset = int(head.headers["upload-offset"])
        if offset < len(content):
            piece, headers = content[offset : offset + 10_000], CHUNK | {"upload-offset": str(offset)}
            self._expect("PATCH /uploads", lambda: client.patch(path, content=piece, headers=headers), 204)
        else:
            del self._chunks[0]
            self.answered.models[path_name(content)] = content

    def _begin_chunks(self, client: httpx.Client, number: int) -> tuple[str, bytes]:
        content = os.urandom(30_000)
        fields = {"upload-length": str(len(content)), "upload-metadata": upload_metadata(filename=path_name(content))}
        headers = fields | {"tus-resumable": "1.0.0"}
        answer = self._expect("POST /uploads", lambda: client.post("/uploads", headers=headers), 201)
        self._chunks[0] = answer.headers["location"], content
        return self._chunks[0]

    def _pull(self, client: httpx.Client, number: int) -> None:
        body = {
            "url": self._hub.put(f"/{self._proxy.kind}-{number}.bin", os.urandom(1000)),
            "name": f"pulled-{self._proxy.kind}-{number}.bin",
        }
        answer = self._expect("POST /pulls", lambda: client.post("/pulls", json=body), 202)
        self.answered.pulls.append(f"/pulls/{answer.json()['id']}")

    def _recognise(self, client: httpx.Client, number: int) -> None:
        image, headers = f"read {number}".encode(), {"content-type": "image/png"}
        answer = self._expect("POST /ocr", lambda: client.post("/ocr", content=image, headers=headers), 200)
        assert answer.json()["text"] == str(number)

    def _begin_job(self, client: httpx.Client, number: int) -> None:
        # Each text is how long the engine takes for the file, in seconds.
        texts = [f"0.0{unit + 2}{number}" for unit in range(UNITS)]
        files = [("file", (f"{text}.png", f"nap {text}".encode(), "image/png")) for text in texts]
        answer = self._expect("POST /ocr/jobs", lambda: client.post("/ocr/jobs", files=files), 202)
        self.answered.jobs[answer.headers["location"]] = texts


def path_name(content: bytes) -> str:
    """Return the name of the model with this content."""
    return f"chunks-{content[:8].hex()}.bin"


class Replicas:
    """Three services on one folder, each on a port that it keeps when it is started again."""

    def __init__(self, folder: Path, hub: Hub, stack: ExitStack, more: dict[str, Any]) -> None:
        """`more` are further settings."""
        self._folder, self._hub, self._stack, self._more = folder, hub, stack, more
        self.ports = [free_port() for _ in range(COUNT)]
        self.services = [self._start(port) for port in self.ports]

    def _start(self, port: int) -> RunningService:
        settings: dict[str, Any] = {
            "port": port,
            "engine_class": "tests.support.engines:Reads",
            "engine_queue_size": 100,
            "max_uploads": 100,
            "drain_time": "2s",
            "pull_allowed_urls": self._hub.cdn_url,
        } | self._more
        return self._stack.enter_context(RunningService(self._folder, **settings)).wait_until_ready()

    def restart(self, index: int) -> int:
        """Send SIGTERM to a replica, wait for its end, start it again, and return its exit status."""
        status = self.services[index].stop()
        self.services[index] = self._start(self.ports[index])
        return status


@pytest.fixture(scope="module")
def hub() -> Iterator[Hub]:
    with Hub() as running:
        yield running


def times_up(haproxy: Proxy) -> int:
    """Return how many times HAProxy has found a replica ready again."""
    return haproxy.log.count(" is UP")


def roll(replicas: Replicas, proxies: list[Proxy], callers: list[Callers]) -> list[int]:
    """Restart each replica in turn by SIGTERM. Between two restarts, wait until the proxies use the replica again."""
    (haproxy,) = [proxy for proxy in proxies if proxy.kind == "haproxy"]
    statuses = []
    for index in range(COUNT * RESTARTS):
        before, counts = times_up(haproxy), [sum(each.answered.counts.values()) for each in callers]
        statuses.append(replicas.restart(index % COUNT))
        eventually(lambda: times_up(haproxy) > before, within=60)  # noqa: B023 - called in this iteration
        for each, count in zip(callers, counts, strict=True):
            eventually(lambda: sum(each.answered.counts.values()) > count + 20, within=60)  # noqa: B023
    return statuses


@pytest.mark.parametrize("queue", ["folder", "database"])
def test_nothing_is_lost(hub: Hub, tmp_path: Path, queue: str, request: pytest.FixtureRequest) -> None:
    """A rolling restart loses no request, upload, pull or job, and each file of a job has exactly one result."""
    more = {"jobs_url": request.getfixturevalue("database")} if queue == "database" else {}
    with ExitStack() as stack:
        replicas = Replicas(tmp_path, hub, stack, more)
        proxies = [stack.enter_context(Proxy(kind, tmp_path, replicas.ports)).wait_until_ready() for kind in KINDS]
        callers = [Callers(proxy, hub) for proxy in proxies]
        is_over, acts = threading.Event(), [(caller, act) for caller in callers for act in caller.kinds()]
        with ThreadPoolExecutor(len(acts)) as threads:
            running = [threads.submit(caller.live, act, is_over) for caller, act in acts]
            try:
                statuses = roll(replicas, proxies, callers)
            finally:
                is_over.set()
            for future in running:
                future.result()
        for proxy, each in zip(proxies, callers, strict=True):
            print(json.dumps({"proxy": proxy.kind, "lost": each.answered.lost} | each.answered.counts))
        check(replicas.services[0], callers)

    assert set(statuses) == {0}


def check(service: RunningService, callers: list[Callers]) -> None:
    """Check that every request was answered, and that everything that was answered is in the folder."""
    for each in callers:
        answered = each.answered
        for name, content in answered.models.items():
            assert (service.models_dir / name).read_bytes() == content, name
        for path in answered.pulls:
            assert finished_job(service, path, within=60)["state"] == "succeeded", path
        for path, texts in answered.jobs.items():
            assert (finished_job(service, path, within=60)["state"], results(service, path)) == ("succeeded", texts)
        assert answered.models
        assert answered.pulls
        assert answered.jobs
        assert answered.lost == []


def results(service: RunningService, path: str) -> list[str]:
    """Return the text of every result of a job, by the index of its file. A file with two results is there twice."""
    answer = service.client.get(f"{path}/results").raise_for_status().json()
    return [f"{result['error'] or result['recognition']['text']}" for result in answer["results"]]
