"""GET /engines while services work on the units of jobs, with the queue in the folder and in a database."""

import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import Serve
from tests.support.service import RunningService
from tests.support.waiting import eventually

READS = "tests.support.engines:Reads"


def seen_at(service: RunningService) -> dict[str, list[tuple[str, str | None]]]:
    """Return what each service works at, by the service's name, as one service shows it."""
    answer = service.client.get("/engines").raise_for_status()
    found: list[dict[str, Any]] = answer.json()["engines"]
    assert answer.headers["x-served-by"] == found[0]["name"]
    return {each["name"]: [(work["kind"], work["job_id"]) for work in each["works"]] for each in found}


def shows(service: RunningService, wanted: dict[str, list[tuple[str, str | None]]]) -> Callable[[], bool]:
    return lambda: seen_at(service) == wanted


@pytest.mark.slow
def test_every_service_shows_which_job_each_works_at(
    serve: Serve, tmp_path: Path, jobs_settings: dict[str, Any]
) -> None:
    """A unit runs on each of two services; one is killed, and the other shows itself alone and goes on."""
    first, second = (
        serve(engine_class=READS, service_name=name, **jobs_settings).wait_until_ready() for name in ("first", "second")
    )
    goes_on = tmp_path / "goes-on"
    files = [("file", (f"{number}", f"wait_for {goes_on}")) for number in range(2)]
    answer = eventually(lambda: (sent := first.client.post("/ocr/jobs", files=files)).status_code == 202 and sent)
    job_id, path = answer.json()["id"], answer.headers["location"]

    works = [("recognise", job_id)]
    for service in (first, second):
        eventually(shows(service, {"first": works, "second": works}), within=60)
    second.stop(signal.SIGKILL)
    eventually(shows(first, {"first": works}), within=60)
    assert first.client.get(path).headers["x-served-by"] == "first"

    goes_on.touch()
    eventually(lambda: first.client.get(path).json()["state"] == "succeeded", within=120)
    eventually(shows(first, {"first": []}), within=60)
