"""Services of the former version and of this one on one folder at the same time: a rolling upgrade and its rollback.

Callers change models all the time, each request at any service that runs, so that what one version writes is read,
changed and undone by the other one. TEST_TWO_VERSIONS is how many times the callers go through every change, at least,
while both versions run.
"""

import json
import os
import random
import signal
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from hashlib import sha256
from pathlib import Path

import httpx
import pytest

from tests.support.clients.tus import append, begun
from tests.support.former_version import service_of, unpack_former
from tests.support.hub import Fault, Hub
from tests.support.service import ROOT, RunningService
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

CYCLES = int(os.environ.get("TEST_TWO_VERSIONS", "3"))
CALLERS = 3
SIZE = 20_000
CUT = 1 << 20
"""After how many bytes a pull waits until its service ends. The progress of a pull is told in such steps."""


class Services:
    """The services that run. A service is stopped when no request runs at it."""

    def __init__(self) -> None:
        self._requests: dict[RunningService, int] = {}
        """How many requests run at each service."""
        self._leaving: set[RunningService] = set()
        self._changed = threading.Condition()

    def add(self, service: RunningService) -> RunningService:
        """Let callers use a service."""
        with self._changed:
            self._requests[service] = 0
        return service

    def stop(self, service: RunningService, number: int) -> int:
        """Send the signal when the last request at the service has been answered; return the exit status."""
        with self._changed:
            self._leaving.add(service)
            assert self._changed.wait_for(lambda: self._requests[service] == 0, timeout=300)
            del self._requests[service]
        return service.stop(number)

    @contextmanager
    def one(self, chance: random.Random) -> Iterator[RunningService]:
        """Use any of the services for one request."""
        with self._changed:
            service = chance.choice([each for each in self._requests if each not in self._leaving])
            self._requests[service] += 1
        try:
            yield service
        finally:
            with self._changed:
                self._requests[service] -= 1
                self._changed.notify_all()


class Caller:
    """Changes models of its own names, each request at any service, and checks what every answer says."""

    def __init__(self, services: Services, number: int, hub: Hub) -> None:
        self._services, self._number, self._hub = services, number, hub
        self._chance = random.Random(number)  # noqa: S311 - not for secrets
        self.cycles = 0
        self.kept: dict[str, bytes] = {}
        """The models that must be there at the end."""
        self.gone: list[str] = []

    def live(self, is_over: threading.Event) -> None:
        """Go through every change until `is_over` is set."""
        while not is_over.is_set():
            name = f"{self._number}-{self.cycles}"
            self._protect_and_delete(f"{name}-deleted.bin")
            self._upload_in_chunks(f"{name}-chunks.bin")
            self._pull(f"{name}-pulled.bin")
            self._delete_twice(f"{name}-twice.bin")
            self.cycles += 1

    def _send(self, method: str, path: str, **options: object) -> httpx.Response:
        with self._services.one(self._chance) as service:
            return service.client.request(method, path, **options)  # type: ignore[arg-type]

    def _put(self, name: str) -> bytes:
        content = os.urandom(SIZE)
        answer = self._send("PUT", f"/models/{name}", content=content)
        assert answer.status_code == 201, answer.text
        return content

    def _until(self, name: str, is_so: Callable[[httpx.Response], bool]) -> None:
        """Wait until several services in a row show the model so; another service's change shows in a second."""
        eventually(lambda: all(is_so(self._send("GET", f"/models/{name}")) for _ in range(6)), within=60)

    def _protect_and_delete(self, name: str) -> None:
        content = self._put(name)
        self._until(name, lambda shown: shown.is_success and shown.json()["sha256"] == sha256(content).hexdigest())
        self._send("PUT", f"/models/{name}/protection", json={"reason": "of a test"}).raise_for_status()
        refused = self._send("DELETE", f"/models/{name}")
        assert (refused.status_code, "of a test" in refused.text) == (403, True), refused.text
        self._send("DELETE", f"/models/{name}/protection").raise_for_status()
        deleted = self._send("DELETE", f"/models/{name}").raise_for_status().json()
        self._until(name, lambda shown: shown.status_code == 404)
        restored = self._send("POST", f"/trash/{deleted['trash_id']}/restore")
        assert restored.is_success, restored.text
        self._until(name, lambda shown: shown.is_success)
        verified = self._send("POST", f"/models/{name}/verify").raise_for_status().json()
        assert verified["outcome"] == "intact"
        self.kept[name] = content

    def _upload_in_chunks(self, name: str) -> None:
        """Each request of an upload goes to any service; a piece with the wrong offset is refused by each."""
        content = os.urandom(SIZE)
        with self._services.one(self._chance) as service:
            path = begun(service, name, SIZE)
        for start, end in ((0, SIZE // 2), (SIZE // 2, SIZE)):
            with self._services.one(self._chance) as service:
                assert append(service, path, end, b"").status_code == 409
            with self._services.one(self._chance) as service:
                append(service, path, start, content[start:end]).raise_for_status()
        self.kept[name] = content

    def _pull(self, name: str) -> None:
        """Pull at one service, since the former version does not show the pulls of this one."""
        content = os.urandom(SIZE)
        body = {"url": self._hub.put(f"/{name}", content), "name": name}
        with self._services.one(self._chance) as service:
            path = service.client.post("/pulls", json=body).raise_for_status().headers["location"]
            eventually(lambda: service.client.get(path).raise_for_status().json()["state"] == "succeeded", within=120)
        self.kept[name] = content

    def _delete_twice(self, name: str) -> None:
        """Of simultaneous deletions at any services one is made, and the model is in the trash once."""
        self._put(name)
        self._until(name, lambda shown: shown.is_success)
        with ThreadPoolExecutor(4) as threads:
            statuses = Counter(threads.map(lambda _: self._send("DELETE", f"/models/{name}").status_code, range(4)))
        assert statuses[200] == 1, statuses
        assert set(statuses) <= {200, 404, 409}, statuses
        self.gone.append(name)


def check_all(service: RunningService, callers: list[Caller]) -> None:
    """Check that every model of the callers is there, intact, and each deleted one in the trash once."""
    client = service.client
    for caller in callers:
        for name, content in caller.kept.items():
            assert (service.models_dir / name).read_bytes() == content, name
    listed = {each["name"]: each for each in client.get("/models?limit=1000").raise_for_status().json()["models"]}
    assert {name for caller in callers for name in caller.kept} <= set(listed)
    entries = client.get("/trash").raise_for_status().json()["entries"]
    in_trash = Counter(each["name"] for each in entries)
    assert {name: in_trash[name] for caller in callers for name in caller.gone} == {
        name: 1 for caller in callers for name in caller.gone
    }
    assert not client.get("/storage").raise_for_status().json()["damaged_records"]
    assert not [each for each in client.get("/audit").raise_for_status().json()["models"] if each["corrupt"]]


def is_flaw(line: str) -> bool:
    """Return whether a line of the log tells of a defect.

    The output of an engine process is none: it has a traceback if a call of the vendor's fails, or if the process is
    ended while it starts.
    """
    entry = json.loads(line)
    return entry["level"] in {"error", "critical"} or ("Traceback" in line and entry["event"] != "engine.output")


def test_a_rolling_upgrade_and_its_rollback(tmp_path: Path) -> None:
    """Two services are replaced in turn, by this version and then by the former one, while callers change models.

    One of them is killed. A pull that runs at a service when it ends is continued: that of the former version by a
    service of any version, and that of this version by one of this version.
    """
    versions = {"former": unpack_former(tmp_path), "present": ROOT}
    with ExitStack() as stack:
        hub, slow = stack.enter_context(Hub()), stack.enter_context(Hub())
        allowed = f"{hub.cdn_url},{slow.cdn_url}"
        services, is_over = Services(), threading.Event()
        logs: list[RunningService] = []

        def start(version: str) -> RunningService:
            service = service_of(versions[version], tmp_path, pull_allowed_urls=allowed, max_uploads=100)
            logs.append(stack.enter_context(service).wait_until_ready())
            return services.add(service)

        def replace(former: RunningService, version: str, number: int) -> RunningService:
            """Stop a service in the middle of a pull, and start one of a version."""
            content = os.urandom(2 * CUT)
            slow.faults.extend([Fault(wait_after=CUT)] * 8)  # a pull asks for the size first, more than once
            name = f"continued-by-{len(logs)}.bin"
            body = {"url": slow.put(f"/{name}", content), "name": name}
            path = former.client.post("/pulls", json=body).raise_for_status().headers["location"]
            eventually(lambda: former.client.get(path).json()["progress"]["done"] == CUT, within=60)
            slow.faults.clear()
            status = services.stop(former, number)
            assert status == (0 if number == signal.SIGTERM else -number)
            begun_service = start(version)
            # The last pull is continued by the other service of this version, and the former one does not show it.
            eventually((begun_service.models_dir / name).exists, within=120)
            assert (begun_service.models_dir / name).read_bytes() == content
            return begun_service

        one, other = start("former"), start("former")
        callers = [Caller(services, number, hub) for number in range(CALLERS)]
        with ThreadPoolExecutor(CALLERS) as threads:
            running = [threads.submit(caller.live, is_over) for caller in callers]
            try:
                one = replace(one, "present", signal.SIGTERM)
                wait_for_cycles(callers, running)
                other = replace(other, "present", signal.SIGKILL)
                one = replace(one, "former", signal.SIGTERM)
                wait_for_cycles(callers, running)
            finally:
                is_over.set()
            for future in running:
                future.result()
        for service in (one, other):
            check_all(service, callers)
        print(json.dumps({"cycles": [caller.cycles for caller in callers]}))
        assert not [line for service in logs for line in service.log.splitlines() if is_flaw(line)]


def wait_for_cycles(callers: list[Caller], running: list[Future[None]]) -> None:
    """Wait until each caller has gone through every change some more times, or has failed."""
    goals = [caller.cycles + CYCLES for caller in callers]
    for caller, future, goal in zip(callers, running, goals, strict=True):
        eventually(lambda: future.done() or caller.cycles >= goal, within=300)  # noqa: B023 - called in this iteration
        assert not future.done() or future.exception() is None, future.exception()
