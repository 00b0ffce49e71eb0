"""Pulls while callers cancel them and two services on one folder are stopped, killed and started again.

TEST_PULL_RESTARTS is how many times a service is restarted.
"""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import httpx
import pytest

from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.clients.jobs import finished_job
from tests.support.crash.labelled import everything
from tests.support.crash.labelled_hub import LabelledHub, label_of, path_of
from tests.support.processes import free_port
from tests.support.service import ECHO
from tests.support.waiting import eventually

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

RESTARTS = int(os.environ.get("TEST_PULL_RESTARTS", "6"))
CALLERS = 3
NAMES = 4
PAUSE_SECONDS = 0.05
REFUSALS = {(409, "pull-conflict"), (409, "model-exists"), (409, "model-locked"), (503, "shutting-down")}
"""How a request to pull may be refused."""
FAILURES = {"model-exists", "model-changed", "condition-failed"}
"""How a pull may fail: another pull of the same name was faster."""


@pytest.fixture
def labelled_hub() -> Iterator[LabelledHub]:
    with LabelledHub() as hub:
        yield hub


@dataclass
class Asked:
    """What the callers have asked for, and the wrong answers that they got."""

    jobs: dict[str, str] = field(default_factory=dict)
    """By id, the label of each pull that was accepted."""
    labels: set[str] = field(default_factory=set)
    """The labels of all requests to pull. A service may be killed after it has created the job, before it answers."""
    wrong: list[str] = field(default_factory=list)


class Caller:
    """Requests pulls of few names, cancels pulls, and lists them, each through a random one of the services."""

    def __init__(self, urls: list[str], hub: LabelledHub, asked: Asked, number: int) -> None:
        self._urls, self._hub, self._asked, self._number = urls, hub, asked, number
        self._chance = random.Random(number)  # noqa: S311 - to be the same each time

    def live(self, is_over: threading.Event) -> None:
        """Send requests until `is_over` is set. A service that is being restarted may not answer."""
        with httpx.Client(timeout=60) as client:
            for count in range(1 << 20):
                if is_over.is_set():
                    return
                with contextlib.suppress(httpx.TransportError):
                    self._act(client, self._chance.choice(self._urls), count)
                time.sleep(PAUSE_SECONDS)

    def _act(self, client: httpx.Client, url: str, count: int) -> None:
        what = self._chance.random()
        if what < 0.5:
            self._pull(client, url, f"pull{self._number}x{count}")
        elif what < 0.7 and self._asked.jobs:
            job = self._chance.choice(list(self._asked.jobs))
            self._expect(client.delete(f"{url}/pulls/{job}"), 200, 202)
        else:
            self._expect(client.get(f"{url}/pulls"), 200)

    def _pull(self, client: httpx.Client, url: str, label: str) -> None:
        path = path_of(label, self._chance.choice([1_000, 3_000_000]), is_quick=self._chance.random() < 0.5)
        body = {
            "url": self._hub.cdn_url + path,
            "name": f"{self._chance.randrange(NAMES)}.bin",
            "if_exists": self._chance.choice(["fail", "replace"]),
        }
        self._asked.labels.add(label)
        answer = client.post(f"{url}/pulls", json=body)
        if answer.status_code == 202:
            self._asked.jobs[answer.json()["id"]] = label
        elif problem_of(answer) not in REFUSALS:
            self._asked.wrong.append(answer.text)

    def _expect(self, answer: httpx.Response, *statuses: int) -> None:
        if answer.status_code not in statuses and problem_of(answer) != (503, "shutting-down"):
            self._asked.wrong.append(f"{answer.request.method} {answer.request.url}: {answer.text}")


def test_pulls_outlive_restarts_and_end_as_they_are_told(serve_jobs: Serve, labelled_hub: LabelledHub) -> None:
    """Every accepted pull ends, its state says what happened, each model is whole, and no partial file stays."""
    settings = {"engine_class": ECHO, "pull_allowed_urls": labelled_hub.cdn_url, "pull_retry_pause": "0.01s"}
    ports = [free_port() for _ in range(2)]  # at others a service of another test could answer between two starts
    services = [serve_jobs(**settings, port=port) for port in ports]
    urls = [service.url for service in services]
    asked, is_over, chance = Asked(), threading.Event(), random.Random(7)  # noqa: S311
    with ThreadPoolExecutor(CALLERS) as threads:
        callers = [threads.submit(Caller(urls, labelled_hub, asked, number).live, is_over) for number in range(CALLERS)]
        try:
            for number in range(RESTARTS):
                reached = len(asked.jobs) + 5
                eventually(lambda: len(asked.jobs) >= reached, within=30)  # noqa: B023 - called in this iteration
                services[number % 2].stop(chance.choice([signal.SIGKILL, signal.SIGTERM]))
                services[number % 2] = serve_jobs(**settings, port=ports[number % 2])
        finally:
            is_over.set()
        for caller in callers:
            caller.result()

    jobs = {job: finished_job(services[0], f"/pulls/{job}", within=60) for job in asked.jobs}

    assert asked.wrong == []
    assert {job["state"] for job in jobs.values()} >= {"succeeded", "cancelled"}
    eventually(lambda: list((services[0].models_dir / ".store/staging").iterdir()) == [], within=30)
    there = {found.label for _, found in everything(services[0].models_dir)}  # fails if a file is not whole
    assert there <= asked.labels
    for job in jobs.values():
        label = label_of(job["request"]["url"])
        assert (label in there) == (job["state"] == "succeeded"), job
        assert job["error"] is None or job["error"]["type"].rpartition(":")[2] in FAILURES, job
