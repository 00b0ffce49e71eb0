"""A service whose storage stops answering: it reports that, continues to answer, and can be stopped."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx
import pytest

from tests.support.service import ECHO, RunningService
from tests.support.waiting import BUSY_FACTOR, Deadline, eventually
from tests.volumes.mounting import Mounts

GRACE_SECONDS = 4
NOTICED_SECONDS = 6.0
QUICK_SECONDS = 1.0
BACK_SECONDS = 10.0
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.parametrize("mounts", ["gluster", "bindfs"], indirect=True),
]


@pytest.fixture
def service(mounts: Mounts, tmp_path: Path) -> Iterator[RunningService]:
    """Run a service on mount A with one model that it lists."""
    folder = mounts.folder(tmp_path.name)
    settings = {"engine_class": ECHO, "shutdown_grace": f"{GRACE_SECONDS}s", "log_format": "json"}
    with RunningService(tmp_path, models_dir=folder.a, **settings) as service:  # type: ignore[arg-type]
        service.wait_until_ready()
        service.client.put("/models/a.bin", content=b"content").raise_for_status()
        eventually(lambda: service.client.get("/models").json()["count"] == 1)
        yield service


@contextmanager
def hung(mounts: Mounts) -> Iterator[None]:
    """Stop the storage until the end of the block."""
    assert mounts.server
    mounts.server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        mounts.server.send_signal(signal.SIGCONT)


def status_of(service: RunningService, path: str, *, within: float) -> int | None:
    """Return the status of an answer; None if none comes in time. A busy machine has more time."""
    soon = Deadline(within)
    try:
        status = httpx.get(f"{service.url}{path}", timeout=within * BUSY_FACTOR).status_code
    except httpx.TimeoutException:
        return None
    return None if soon.is_over else status


def has_ended(service: RunningService) -> bool:
    """Return True if a service's process has ended, or has only threads left that wait for the storage in the kernel.

    While the file system's client has a request, the kernel waits for its answer whatever signal comes. Such a thread,
    and its process, cannot be reaped before that.
    """
    process = service.process
    if process.poll() is not None:
        return True
    tasks = Path(f"/proc/{process.pid}/task")
    try:
        states = {int(task.name): (task / "stat").read_text().rpartition(")")[2].split()[0] for task in tasks.iterdir()}
    except (FileNotFoundError, ProcessLookupError):  # a thread has ended meanwhile
        return False
    return states.pop(process.pid) == "Z" and set(states.values()) <= {"D", "Z"}


def test_a_hang_is_noticed_and_costs_no_answer(service: RunningService, mounts: Mounts) -> None:
    """When the storage hangs, `/readyz` is 503 within seconds, and `/livez` and the list still answer at once."""
    problems = []
    with hung(mounts):
        began, soon = time.monotonic(), Deadline(NOTICED_SECONDS)
        noticed = None
        while time.monotonic() - began < 2 * NOTICED_SECONDS:
            ready = status_of(service, "/readyz", within=QUICK_SECONDS)
            if ready == 503 and noticed is None:
                noticed = time.monotonic() - began
                assert not soon.is_over, f"/readyz said 503 only after {noticed:.1f} s"
            for path, allowed in (("/livez", {200}), ("/models", {200, 503})):
                status = status_of(service, path, within=QUICK_SECONDS)
                if status not in allowed:
                    problems.append(f"{path} after {time.monotonic() - began:.1f} s: {status}")
            time.sleep(0.2)
    assert noticed is not None, "/readyz never said 503"
    assert not problems


def test_a_service_on_hung_storage_can_be_ended(service: RunningService, mounts: Mounts) -> None:
    """SIGTERM ends a service within its grace, although requests wait for the hung storage."""
    with hung(mounts):
        for path in ("/models/a.bin", "/trash"):
            with suppress(httpx.TimeoutException):  # each request occupies a thread
                httpx.get(f"{service.url}{path}", timeout=QUICK_SECONDS)
        service.process.send_signal(signal.SIGTERM)
        eventually(lambda: has_ended(service), within=GRACE_SECONDS + 5)


def test_a_service_is_ready_again_when_its_storage_is(service: RunningService, mounts: Mounts) -> None:
    """When the storage answers again, the service is ready and changes the folder without a restart."""
    with hung(mounts):
        eventually(lambda: status_of(service, "/readyz", within=QUICK_SECONDS) == 503, within=NOTICED_SECONDS)
        time.sleep(NOTICED_SECONDS)  # as long as a short outage

    eventually(lambda: status_of(service, "/readyz", within=QUICK_SECONDS) == 200, within=BACK_SECONDS)
    assert service.client.put("/models/b.bin", content=b"content").status_code == 201
    eventually(lambda: service.client.get("/models").json()["count"] == 2)
