"""Two services on one folder in separate network namespaces: replicas on two machines, as far as one machine allows."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.crash.labelled import content_of
from tests.support.crash.labelled_hub import path_of
from tests.support.processes import python
from tests.support.service import ECHO, ROOT, RunningService
from tests.support.skips import ELSEWHERE
from tests.support.waiting import eventually

NAMES = tuple(f"ocr-test-{os.getpid()}-{each}" for each in "ab")
"""Of this process: other test runs have namespaces too, and a run that was killed has left its own."""
ADDRESSES = ("10.231.0.1", "10.231.0.2")
HUB_ADDRESS = "10.231.0.3"
"""The address of the hub, in the second namespace; the first reaches it over the cable."""
HOLDS_A_LEASE = """
import sys
from pathlib import Path
from app.store.locks.model_locks import ModelLocks
with ModelLocks(Path(sys.argv[1])).lease(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.read()
"""
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(os.geteuid() != 0, reason=f"{ELSEWHERE}network namespaces with links between them need root"),
]


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True)


@pytest.fixture
def namespaces() -> Iterator[None]:
    """Create two network namespaces with a cable between them."""
    with ExitStack() as undo:
        for name in NAMES:
            ip("netns", "add", name)
            undo.callback(ip, "netns", "delete", name)
        ip("link", "add", "veth-a", "netns", NAMES[0], "type", "veth", "peer", "name", "veth-b", "netns", NAMES[1])
        for name, address, link in zip(NAMES, ADDRESSES, ("veth-a", "veth-b"), strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", link)
            ip("-n", name, "link", "set", link, "up")
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", NAMES[1], "address", "add", f"{HUB_ADDRESS}/24", "dev", "veth-b")
        yield


@pytest.fixture
def hub_url(namespaces: None) -> Iterator[str]:
    """Run a hub that both namespaces reach and this process's namespace does not; yield its URL."""
    command = ["ip", "netns", "exec", NAMES[1], sys.executable, "-m", "tests.support.crash.labelled_hub", HUB_ADDRESS]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as hub:
        assert hub.stdout
        yield hub.stdout.readline().strip()
        hub.communicate()


class Replica:
    """A service in one namespace, which either namespace can ask."""

    def __init__(self, serve: Serve, number: int, **settings: object) -> None:
        self.service: RunningService = serve(
            wrapper=("ip", "netns", "exec", NAMES[number]),
            engine_class=ECHO,
            host=ADDRESSES[number],
            allow_anonymous="true",
            **settings,
        )
        self.port = int(self.service.client.base_url.port or 0)
        self._url = f"http://{ADDRESSES[number]}:{self.port}"

    def ask(self, method: str, path: str, *, from_the_other: int, body: object = None) -> tuple[int, str]:
        """Send a request with curl in the namespace of that number; return the status and the body."""
        sent = [] if body is None else ["-H", "content-type: application/json", "-d", json.dumps(body)]
        command = [
            "ip",
            "netns",
            "exec",
            NAMES[from_the_other],
            "curl",
            "-s",
            "--noproxy",
            "*",
            "-w",
            "\n%{http_code}",
            "-X",
            method,
        ]
        ran = subprocess.run([*command, *sent, self._url + path], capture_output=True, text=True, check=True)
        answer, _, status = ran.stdout.rpartition("\n")
        return int(status), answer


def test_replicas_that_share_no_network_see_each_others_changes(serve: Serve, namespaces: None) -> None:
    """A change or a lease in one service shows in the other, with which it shares only the folder."""
    one, other = Replica(serve, 0), Replica(serve, 1)
    models = one.service.models_dir
    # No service is reachable from this process's own namespace.
    with pytest.raises(OSError, match=r"time|refused|unreachable"):
        socket.create_connection((ADDRESSES[0], one.port), timeout=1)
    (models / "a.bin").write_bytes(b"content")
    for number, replica in enumerate((one, other)):
        eventually(lambda: '"a.bin"' in replica.ask("GET", "/models", from_the_other=number)[1])  # noqa: B023

    with python(HOLDS_A_LEASE, models / ".store/locks/models", "a.bin"):
        for number, replica in enumerate((one, other)):
            eventually(lambda: '"in_use":true' in replica.ask("GET", "/models", from_the_other=number)[1])  # noqa: B023
            assert replica.ask("DELETE", "/models/a.bin", from_the_other=number)[0] == 409

    status, receipt = one.ask("DELETE", "/models/a.bin", from_the_other=1)  # over the cable
    assert status == 200
    eventually(lambda: '"count":0' in other.ask("GET", "/models", from_the_other=1)[1])
    assert other.ask("DELETE", "/models/a.bin", from_the_other=0)[0] == 404
    (entry,) = [path.stem for path in (models / ".store/trash").glob("*.json")]
    assert entry in receipt
    assert other.ask("POST", f"/trash/{entry}/restore", from_the_other=1)[0] == 200
    eventually(lambda: '"a.bin"' in one.ask("GET", "/models", from_the_other=0)[1])
    assert (models / "a.bin").read_bytes() == b"content"
    assert Path(models / ".store/journal.jsonl").read_text().count("\n") == 2


def test_a_replica_reports_the_pull_of_another_and_adopts_it_when_that_is_killed(serve: Serve, hub_url: str) -> None:
    """A service shows another service's pull, and continues it over its own network when that service is killed."""
    replicas = [Replica(serve, number, pull_allowed_urls=hub_url) for number in (0, 1)]
    size_bytes = 60_000_000  # lasts until this test, on a busy machine too, has asked both services and killed one

    def job(asked: int) -> dict[str, Any]:
        return dict(json.loads(replicas[asked].ask("GET", path, from_the_other=asked)[1]))

    url = hub_url + path_of("pulled", size_bytes, is_quick=False)
    status, asked = replicas[0].ask("POST", "/pulls", from_the_other=0, body={"url": url, "name": "a.bin"})
    assert status == 202
    path = f"/pulls/{json.loads(asked)['id']}"
    reported = eventually(lambda: now if (now := job(1))["progress"]["done"] else None)
    assert (reported["state"], reported["phase"]) == ("running", "downloading")
    # The service that was asked usually runs the pull, but if it is slow, the other one takes the job first.
    owners = [f":{replica.service.process.pid}" for replica in replicas]
    runs = next(number for number, owner in enumerate(owners) if reported["owner"].endswith(owner))
    other = 1 - runs
    assert job(other)["state"] == "running"
    assert reported["progress"]["done"] < reported["progress"]["total"] == len(content_of("pulled", size_bytes))

    replicas[runs].service.stop(signal.SIGKILL)

    adopted = eventually(lambda: now if (now := job(other))["finished_at"] else None, within=120)
    assert adopted["state"] == "succeeded", adopted
    assert adopted["owner"].endswith(owners[other])
    models = replicas[other].service.models_dir
    assert (models / "a.bin").read_bytes() == content_of("pulled", size_bytes)
    assert list((models / ".store/staging").iterdir()) == []
