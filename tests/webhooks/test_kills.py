"""Services that are killed: each webhook arrives at least once, always with the same id."""

import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.conftest import Serve
from tests.support.files.model_files import NO_TENSORS
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually
from tests.support.webhook_receiver import Reply, WebhookReceiver, new_secret

SECRET = new_secret()
KILLS = int(os.environ.get("TEST_WEBHOOK_KILLS", "6"))
"""How many services the slow test kills."""


@pytest.fixture
def receiver() -> Iterator[WebhookReceiver]:
    with WebhookReceiver() as server:
        yield server


def service_on(serve_jobs: Serve, folder: Path, receiver: WebhookReceiver) -> RunningService:
    """Start a service on a folder with the model of texts."""
    (folder / "models" / DEFAULT_MODEL).parent.mkdir(parents=True, exist_ok=True)
    (folder / "models" / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    return serve_jobs(
        folder,
        engine_class=ECHO,
        state_dir=folder / f"state-{time.monotonic_ns()}",
        webhook_allowed_urls=receiver.url,
        webhook_secret=SECRET,
        webhook_timeout="5m",
        webhook_retry_pause="0.1s",
    )


def begin(service: RunningService, url: str) -> str:
    """Begin a job and return its path."""
    answer = service.client.post(
        "/ai/spell-check", params={"webhook": url}, json={"texts": ["a"]}, headers={"prefer": "respond-async"}
    )
    assert answer.status_code == 202, answer.text
    return answer.headers["location"]


def test_another_service_sends_what_a_killed_one_did_not(
    serve_jobs: Serve, tmp_path: Path, receiver: WebhookReceiver
) -> None:
    """A service is killed while it sends; another one on the folder sends the same event, with the same id."""
    first = service_on(serve_jobs, tmp_path, receiver).wait_until_ready()
    receiver.replies["/ended"].append(Reply(gate=threading.Event()))
    location = begin(first, f"{receiver.url}/ended")
    receiver.wait_for("/ended")
    second = service_on(serve_jobs, tmp_path, receiver)
    held = second.client.get(location).json()["webhook"]
    assert (held["state"], held["attempts"], len(receiver.to("/ended"))) == ("pending", 0, 1)

    first.stop(signal.SIGKILL)

    sent = receiver.wait_for("/ended", count=2)
    eventually(lambda: second.client.get(location).json()["webhook"]["state"] == "delivered")
    assert sent[0].body == sent[1].body
    assert {each.id for each in sent} == {f"msg_{location.rpartition('/')[2]}"}
    assert sent[1].verified(SECRET)


@pytest.mark.slow
def test_no_webhook_is_lost_when_services_are_killed(
    serve_jobs: Serve, tmp_path: Path, receiver: WebhookReceiver
) -> None:
    """Two services are killed at random moments while jobs run and the receiver fails at random."""
    chance = random.Random(4711)  # noqa: S311 - not for a secret
    receiver.failing = lambda: chance.random() < 0.3
    services = [service_on(serve_jobs, tmp_path, receiver).wait_until_ready() for _ in range(2)]
    begun: list[str] = []
    for number in range(KILLS):
        until = time.monotonic() + chance.uniform(0.2, 2.0)
        while time.monotonic() < until:
            with contextlib.suppress(httpx.TransportError):
                begun.append(begin(chance.choice(services), f"{receiver.url}/ended/{len(begun)}"))
        victim = number % 2
        services[victim].stop(signal.SIGKILL)
        services[victim] = service_on(serve_jobs, tmp_path, receiver).wait_until_ready()

    def are_delivered() -> bool:
        return all(
            services[0].client.get(each).raise_for_status().json()["webhook"]["state"] == "delivered" for each in begun
        )

    assert begun
    eventually(are_delivered, within=120)
    ids = {location: {sent.id for sent in receiver.sent if location.endswith(sent.id[4:])} for location in begun}
    assert ids == {location: {f"msg_{location.rpartition('/')[2]}"} for location in begun}
    assert all(sent.verified(SECRET) for sent in receiver.sent)
    print(f"{KILLS} kills, {len(begun)} jobs, {len(receiver.sent)} requests, {len({s.id for s in receiver.sent})} ids")
