"""The jobs of pulls: every service on the folder can see, cancel and continue them."""

import signal

import pytest

from tests.api.pulls.requests import (
    CONTENT,
    CUT,
    FILE,
    NAME,
    REPOSITORY,
    finished,
    job_of,
    nothing_is_left,
    pull,
    request_pull,
    staged_files,
)
from tests.conftest import Serve
from tests.support.hub import Fault, Hub
from tests.support.service import RunningService
from tests.support.waiting import eventually


def test_equal_requests_share_one_job(pair: list[RunningService], hub: Hub) -> None:
    """An equal request, also to another service, returns the same job; another request for the same model gets 409."""
    hub.faults.append(Fault(wait_after=CUT))
    gate = hub.faults[0].gate
    first, second = pair
    asked = request_pull(first)
    eventually(lambda: job_of(first, asked)["progress"]["done"] == CUT)

    again = request_pull(second)
    other = request_pull(second, if_exists="replace")
    gate.set()

    assert (again.status_code, again.headers["location"]) == (200, asked.headers["location"])
    assert (other.status_code, other.json()["job_id"]) == (409, asked.json()["id"])
    assert finished(second, asked)["state"] == "succeeded"
    assert len(hub.asked("cdn")) == 1


def test_a_running_pull_counts_in_gauges_of_its_own(service: RunningService, hub: Hub) -> None:
    """Gauges of files and texts do not count pulls, so that a pull does not hide that no service reads files."""
    hub.faults.append(Fault(wait_after=CUT))
    gate = hub.faults[0].gate
    asked = request_pull(service)
    eventually(lambda: job_of(service, asked)["progress"]["done"] == CUT)

    running = service.client.get("/metrics").text
    gate.set()
    assert finished(service, asked)["state"] == "succeeded"

    for gauge in ("ocr_units_running", "ocr_units_waiting"):
        values = {kind: f'{gauge}{{kind="{kind}"}} {count}' for kind, count in {"pull": 1.0, "images": 0.0}.items()}
        assert {kind for kind, line in values.items() if line in running} == {"pull", "images"}
    eventually(lambda: 'ocr_units_running{kind="pull"} 0.0' in service.client.get("/metrics").text)


@pytest.mark.slow
def test_pulls_beyond_the_limit_wait(start: Serve, hub: Hub) -> None:
    """At most OCR_PULLS_AT_ONCE pulls run; the others wait, and the oldest runs first."""
    faults = [Fault(wait_after=0) for _ in range(3)]
    hub.faults.extend(faults)
    for name in "abc":
        hub.add(REPOSITORY, f"{name}.bin", name.encode() * 1000)
    service = start(pulls_at_once=2)

    jobs = [request_pull(service, file=f"{name}.bin") for name in "abc"]
    eventually(lambda: len(hub.asked("cdn")) == 2)
    states = [job_of(service, job)["state"] for job in jobs]
    for fault in faults:
        fault.gate.set()

    assert states == ["running", "running", "queued"]
    assert [finished(service, job)["state"] for job in jobs] == ["succeeded"] * 3
    assert [job["id"] for job in service.client.get("/pulls").json()["jobs"]] == [j.json()["id"] for j in jobs[::-1]]


def test_another_service_reports_and_cancels_a_pull(pair: list[RunningService], hub: Hub) -> None:
    """Another service shows a pull's progress and cancels it; the pull leaves no files."""
    hub.faults.append(Fault(wait_after=CUT))
    first, second = pair
    asked = request_pull(first)
    running = eventually(lambda: job if (job := job_of(second, asked))["progress"]["done"] else None)

    cancelled = second.client.delete(asked.headers["location"])

    assert (running["phase"], running["progress"]["total"]) == ("downloading", len(CONTENT))
    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")
    assert finished(second, asked)["state"] == "cancelled"
    eventually(lambda: nothing_is_left(first))
    assert second.client.delete(asked.headers["location"]).status_code == 200


def test_a_waiting_pull_is_cancelled_at_once(start: Serve, hub: Hub) -> None:
    """Cancelling a pull that no service runs returns 200 and the cancelled job."""
    hub.faults.append(Fault(wait_after=0))
    hub.add(REPOSITORY, "b.bin", b"b")
    service = start(pulls_at_once=1)
    request_pull(service)
    waiting = request_pull(service, file="b.bin")

    cancelled = service.client.delete(waiting.headers["location"])

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_restarted_service_continues_a_pull(start: Serve, hub: Hub, number: int) -> None:
    """After a stop or a kill, the next start continues a pull after the bytes on the disk, and hashes those again."""
    hub.faults.append(Fault(wait_after=2 * CUT))
    before = start()
    asked = request_pull(before)
    eventually(lambda: job_of(before, asked)["progress"]["done"] == 2 * CUT)
    before.stop(number)
    assert len(staged_files(before)) == 2

    after = start()

    job = finished(after, asked)
    assert job["state"] == "succeeded", job
    assert (after.models_dir / NAME).read_bytes() == CONTENT
    assert [seen.headers.get("Range") for seen in hub.asked("cdn")] == [None, f"bytes={2 * CUT}-"]
    eventually(lambda: staged_files(after) == [])  # the partial files go once the job has its outcome
    assert job["owner"].endswith(f":{after.process.pid}")


def test_another_service_continues_a_killed_services_pull(start: Serve, hub: Hub) -> None:
    """Another service on the folder continues the pull of a killed service without a request."""
    hub.faults.append(Fault(wait_after=CUT))
    first, second = start(), start()
    asked = request_pull(first)
    eventually(lambda: job_of(second, asked)["progress"]["done"] == CUT)

    first.stop(signal.SIGKILL)

    job = finished(second, asked)
    assert job["state"] == "succeeded", job
    assert job["owner"].endswith(f":{second.process.pid}")
    assert (second.models_dir / NAME).read_bytes() == CONTENT


@pytest.mark.slow
def test_a_pull_starts_over_if_the_file_has_changed(start: Serve, hub: Hub) -> None:
    """A pull starts over if the repository has a new version of the file when the pull is resumed."""
    hub.faults.append(Fault(wait_after=CUT))
    before = start()
    asked = request_pull(before)
    eventually(lambda: job_of(before, asked)["progress"]["done"] == CUT)
    before.stop(signal.SIGKILL)
    hub.add(REPOSITORY, FILE, CONTENT[::-1])

    after = start()

    assert finished(after, asked)["state"] == "succeeded"
    assert (after.models_dir / NAME).read_bytes() == CONTENT[::-1]
    assert [seen.headers.get("Range") for seen in hub.asked("cdn")] == [None, None]


def test_an_unknown_job_answers_404(service: RunningService) -> None:
    """Every route of a job answers 404 for an unknown id."""
    client = service.client

    for path in ("/pulls/nope", "/pulls/20261121T092012Z-0a1b23a56954", "/pulls/nope/events"):
        assert client.get(path).json()["type"].endswith(":job-not-found")
    assert client.delete("/pulls/nope").status_code == 404


def test_pulls_are_counted_and_logged(start: Serve, hub: Hub) -> None:
    """The log has a line when a pull starts and one when it is finished; the metrics count pulls and bytes."""
    service = start()
    pull(service)

    eventually(lambda: "pull.finished" in service.log)
    assert "pull.started" in service.log
    assert '"outcome": "succeeded"' in service.log
    metrics = service.client.get("/metrics").text
    assert 'ocr_pulls_total{outcome="succeeded"} 1.0' in metrics
    assert 'ocr_pulled_bytes_total{outcome="succeeded"} 3.145728e+06' in metrics
