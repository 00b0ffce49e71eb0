"""A batch of 10,000 files: it is taken in with little memory, and keeps no page and no other job waiting.

Each unit of the batch works until the test lets it end, so no test measures times: a page before which a second unit
began would never be answered.
"""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest

from app.api.http.keys import Scope, entry_for, new_key
from tests.support.service import RunningService
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
T = TypeVar("T")
READS = "tests.support.engines:Reads"
FILES = 10_000
FILE_BYTES = 16_000
WORKED_ON = 100
"""How many files are ones that the engine knows. The others are only stored."""
MOST_MEMORY = 60_000_000
"""By how many bytes the service may grow while it takes in the batch, which has 160 MB."""
ROUNDS = 5
KEYS = {name: new_key() for name in ("batch", "page")}


class Batch:
    """A job of 10,000 files, which end one after another as the test says."""

    def __init__(self, service: RunningService, client: httpx.Client, gates: Path) -> None:
        self.service = service
        self.client = client
        self._gates = gates
        self._ended = 0
        gates.mkdir()
        files = [("file", (f"{number}", self._image(number))) for number in range(FILES)]
        answer = self.client.post("/ocr/jobs", files=files)
        assert answer.status_code == 202, answer.text
        self.path = answer.headers["location"]

    def wait_until_it_works(self) -> None:
        """Wait until the engine works on a unit that the test has not let end."""
        eventually(lambda: self._done() == self._ended and self.service.engine()["busy"])

    def let_one_end(self) -> None:
        (self._gates / str(self._ended)).touch()
        self._ended += 1

    def _image(self, number: int) -> bytes:
        return f"wait_for {self._gates}/{number}".encode() if number < WORKED_ON else bytes(FILE_BYTES)

    def _done(self) -> int:
        return int(job_at(self.client, self.path)["progress"]["done"])


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]) -> Iterator[RunningService]:
    """Run a service with two API keys."""
    folder = tmp_path_factory.mktemp("batch")
    keys_file = folder / "keys.toml"
    keys_file.write_text("".join(entry_for(name, list(Scope), key) for name, key in KEYS.items()))
    with RunningService(folder, engine_class=READS, api_keys_file=keys_file, **jobs_settings) as running:
        running.client.headers["authorization"] = f"Bearer {KEYS['page']}"
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def batch(service: RunningService, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Batch]:
    """Create the batch, and check the memory that this takes."""
    process = psutil.Process(service.process.pid)
    headers = {"authorization": f"Bearer {KEYS['batch']}"}
    with httpx.Client(base_url=service.url, timeout=600, headers=headers) as client:
        before, began = process.memory_info().rss, time.monotonic()
        made = Batch(service, client, tmp_path_factory.mktemp("gates") / "batch")
        grown, seconds = most_resident_bytes(process.pid) - before, time.monotonic() - began
        print(
            f"\n{FILES:,} files in {seconds:.1f} s; {before / 1e6:.0f} MB before, {grown / 1e6:.0f} MB more meanwhile"
        )
        try:
            assert grown < MOST_MEMORY
            yield made
        finally:
            client.delete(made.path)


def job_at(client: httpx.Client, path: str) -> dict[str, Any]:
    return dict(client.get(path).raise_for_status().json())


def most_resident_bytes(pid: int) -> int:
    """Return the most memory that a process ever had."""
    (line,) = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return 1024 * int(line.split()[1])


def during_one_unit(batch: Batch, ask: Callable[[], T], is_asked: Callable[[], bool]) -> T:
    """Ask while a unit of the batch works, let this unit end, and no other one, and return the answer."""
    batch.wait_until_it_works()
    with ThreadPoolExecutor(1) as thread:
        asked = thread.submit(ask)
        eventually(lambda: asked.done() or is_asked())
        batch.let_one_end()
        return asked.result(timeout=120)


@pytest.mark.parametrize("key", KEYS)
def test_a_page_waits_for_one_unit_at_most(service: RunningService, batch: Batch, key: str) -> None:
    """A page, of the batch's own API key too, is answered after the unit that is in the engine."""
    client = batch.client if key == "batch" else service.client

    def ask() -> str:
        return str(client.post("/ocr", files={"file": b"read page"}).raise_for_status().json()["text"])

    for _ in range(ROUNDS):
        assert during_one_unit(batch, ask, lambda: service.engine()["waiting"] > 0) == "page"


def test_another_key_waits_for_one_unit_at_most(service: RunningService, batch: Batch) -> None:
    """The job of another API key is done after the unit that is in the engine."""
    for _ in range(ROUNDS):
        batch.wait_until_it_works()
        path = service.client.post("/ocr/jobs", files={"file": b"read job"}).raise_for_status().headers["location"]
        batch.let_one_end()

        eventually(lambda path=path: job_at(service.client, path)["state"] == "succeeded")
