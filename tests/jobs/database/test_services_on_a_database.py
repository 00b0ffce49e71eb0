"""Real services whose queue is in a real PostgreSQL: over HTTP, with a service killed and the database stopped."""

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.support.deployed.postgres import Postgres, is_installed
from tests.support.service import RunningService
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not is_installed(), reason="postgresql is not installed; .ci/run installs it"),
]
PASSWORD = "sesame-of-the-test"
READS = "tests.support.engines:Reads"


@pytest.fixture
def server() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


def start(serve: Serve, folder: Path, server: Postgres, name: str) -> RunningService:
    """Start a service on the shared model folder, and wait until its queue is there."""
    own = folder / name
    own.mkdir()
    url = server.url.replace("postgres@", f"postgres:{PASSWORD}@")
    service = serve(own, models_dir=folder / "models", jobs_url=url, engine_class=READS)
    service.wait_until_ready()
    eventually(lambda: queue_check(service)["ok"], within=60)
    return service


def queue_check(service: RunningService) -> dict[str, Any]:
    """Return the check of the queue from /readyz."""
    checks = service.client.get("/readyz?verbose").json()["checks"]
    found: dict[str, Any] = next(each for each in checks if each["name"] == "queue")
    return found


def post(service: RunningService, *images: str, key: str | None = None) -> httpx.Response:
    """Send images for a job."""
    headers = {"idempotency-key": key} if key else {}
    files = [("file", (f"{n}", each)) for n, each in enumerate(images)]
    return service.client.post("/ocr/jobs", files=files, headers=headers)


def finished(service: RunningService, path: str) -> Any:
    """Return a job if it has ended."""
    job = service.client.get(path).json()
    return job if job["state"] in {"succeeded", "failed", "cancelled"} else None


def test_a_killed_services_unit_is_done_by_another(serve: Serve, tmp_path: Path, server: Postgres) -> None:
    """One service is killed at a unit; the other goes on with the job, and each unit has one result."""
    first, second = (start(serve, tmp_path, server, name) for name in ("first", "second"))
    goes_on = tmp_path / "goes-on"
    path = post(first, *[f"wait_for {goes_on}"] * 2, *[f"read {number}" for number in range(4)]).headers["location"]
    begun = tmp_path / "models/.store" / "jobs" / path.rpartition("/")[2] / "log.jsonl"
    eventually(lambda: begun.exists() and begun.read_text().count("begun") == 2, within=60)  # one at each

    first.stop(signal.SIGKILL)
    goes_on.touch()
    job = eventually(lambda: finished(second, path), within=120)

    assert (job["state"], job["result"]) == ("succeeded", {"failed_count": 0})
    results = second.client.get(f"{path}/results").json()["results"]
    assert sorted(each["index"] for each in results) == list(range(6))


def test_a_database_of_any_encoding(serve: Serve, tmp_path: Path, server: Postgres) -> None:
    """The queue works also in a database of the encoding SQL_ASCII, which `initdb` makes without a locale."""
    server.run("CREATE DATABASE plain ENCODING 'SQL_ASCII' TEMPLATE template0")
    service = serve(tmp_path, jobs_url=server.url_of("plain"), engine_class=READS).wait_until_ready()
    eventually(lambda: queue_check(service)["ok"], within=60)
    path = post(service, "read a").headers["location"]

    assert eventually(lambda: finished(service, path), within=60)["state"] == "succeeded"


def test_a_service_without_its_database(serve: Serve, tmp_path: Path, server: Postgres) -> None:
    """Jobs are refused and leave nothing; all else works, and says why. Nothing shows the password.

    A request that is sent again with its Idempotency-Key gets its job, since nothing is queued.
    """
    service = start(serve, tmp_path, server, "one")
    goes_on = tmp_path / "goes-on"
    path = post(service, f"wait_for {goes_on}", "read b", key="first").headers["location"]
    jobs = tmp_path / "models/.store/jobs"
    before = sorted(each.name for each in jobs.iterdir())
    eventually(lambda: 'ocr_units_running{kind="images"} 1.0' in service.client.get("/metrics").text, within=60)

    server.stop()
    eventually(lambda: not queue_check(service)["ok"], within=60)
    refused = post(service, "read c")
    assert (refused.status_code, refused.json()["type"].rpartition(":")[2]) == (503, "queue-unavailable")
    assert refused.headers["retry-after"] == "5"
    assert sorted(each.name for each in jobs.iterdir()) == before
    assert "ocr_queue_available 0.0" in service.client.get("/metrics").text
    assert service.client.get("/readyz").status_code == 200

    again = post(service, f"wait_for {goes_on}", "read b", key="first")
    assert (again.status_code, again.headers["location"]) == (202, path)
    others = [post(service, "read other", key=key) for key in ("first", "second")]
    assert [each.json()["type"].rpartition(":")[2] for each in others] == [
        "idempotency-key-reused",
        "queue-unavailable",
    ]
    assert sorted(each.name for each in jobs.iterdir()) == before

    goes_on.touch()
    eventually(lambda: service.client.get(f"{path}/results").json()["results"], within=60)
    read = service.client.post("/ocr", content=b"read without a job", headers={"content-type": "image/png"})
    assert read.status_code == 200
    shown = refused.text + service.client.get("/readyz?verbose").text

    server.start()
    assert eventually(lambda: finished(service, path), within=60)["state"] == "succeeded"
    assert post(service, "read d").status_code == 202
    assert [service.log.count(event) for event in ("queue.away", "queue.back")] == [1, 1]
    assert PASSWORD not in shown + service.log


def test_a_cancelled_job_is_over_on_another_service(serve: Serve, tmp_path: Path, server: Postgres) -> None:
    """A job that one service works on is cancelled at another; the first takes the next job."""
    first, second = (start(serve, tmp_path, server, name) for name in ("first", "second"))
    paths = [post(first, f"wait_for {tmp_path}/never").headers["location"] for _ in range(2)]
    for service in (first, second):
        eventually(
            lambda service=service: 'ocr_units_running{kind="images"} 1.0' in service.client.get("/metrics").text,
            within=60,
        )

    for path in paths:
        assert second.client.delete(path).json()["state"] == "cancelled"
    last = post(second, "read a", "read b").headers["location"]

    assert eventually(lambda: finished(first, last), within=60)["state"] == "succeeded"
