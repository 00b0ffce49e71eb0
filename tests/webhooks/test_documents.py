"""The OpenAPI document's callbacks, and the receivers of docs/webhooks.md as they stand."""

import asyncio
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import jsonschema_rs
import pytest

from app.api.docs.compact_document import compact
from app.api.jobs.webhooks import cloud_event
from app.errors import JobAbandoned
from app.fetching.http_client import HttpClient
from app.jobs.progress import Progress
from app.jobs.records import Failure, Job, JobState, new_job
from app.main import create_app
from app.settings import Settings
from app.webhooks.sender import WebhookSender
from app.webhooks.targets import WebhookTargets
from tests.support.held_jobs import ME
from tests.support.processes import free_port
from tests.support.waiting import eventually
from tests.support.webhook_receiver import new_secret

GUIDE = Path(__file__).parents[2] / "docs" / "webhooks.md"
RUNNERS = {"python": (sys.executable, "-u", "-c"), "javascript": ("node", "--input-type=module", "--eval")}


def an_event(state: JobState = JobState.SUCCEEDED, **result: Any) -> dict[str, Any]:
    job: Job = new_job("images", {}, ME, Progress())
    job = replace(job, state=state, finished_at=job.created_at, result=result)
    if state is JobState.FAILED:
        job = replace(job, failure=Failure(JobAbandoned.__name__, "it was abandoned"))
    return cloud_event(job, "urn:ocr-model-folder:a")


def test_each_operation_with_a_webhook_has_the_callback() -> None:
    """Both documents describe the event at each operation that takes a webhook, and real events fit the schema."""
    complete = create_app(Settings()).openapi()
    for document in (complete, compact(complete)):
        components = document["components"]
        places = dict[str, str]()
        for path, methods in document["paths"].items():
            for operation in methods.values():
                for callback in operation.get("callbacks", {}).values():
                    (expression,) = callback
                    places[path] = expression
        by_query = ("/ai/keywords", "/ai/query", "/ai/spell-check", "/ocr", "/ocr/jobs")
        assert places == dict.fromkeys(by_query, "{$request.query.webhook}") | {"/pulls": "{$request.body#/webhook}"}
        assert "webhook" in components["schemas"]["PullIn"]["properties"]
        described = components["pathItems"]["jobEnded"]["post"]["requestBody"]["content"]
        schema = described["application/cloudevents+json"]["schema"] | {"components": components}
        for state in (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED):
            jsonschema_rs.validate(schema, an_event(state))


def test_a_large_event_has_no_result() -> None:
    """The result of a job that makes the event too large is left out, and nothing else."""
    small = an_event(models=["a"])
    assert small["data"]["result"] == {"models": ["a"]}
    for name in ("a" * 262_000, "\N{CJK UNIFIED IDEOGRAPH-6A21}" * 88_000):  # bytes count, not characters
        large = an_event(models=[name])
        assert large["data"]["result"] is None
        assert small["data"].keys() == large["data"].keys()


@pytest.mark.parametrize("language", RUNNERS)
def test_the_receivers_of_the_guide_verify(language: str) -> None:
    """The programs of the guide accept a webhook of this service with any of its secrets, and refuse all others."""
    (program,) = re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), re.DOTALL)
    port, secret, event = free_port(), new_secret(), an_event()
    environment = os.environ | {"WEBHOOK_SECRET": secret, "PORT": str(port)}
    command = [*RUNNERS[language], program]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as receiver:
        try:
            eventually(lambda: _answers(port), within=60)
            sent = [
                asyncio.run(_sent(f"http://127.0.0.1:{port}/ocr/ended", event, secrets))
                for secrets in ([secret], [new_secret(), secret], [new_secret()])
            ]
        finally:
            receiver.kill()
        assert receiver.stdout
        printed = receiver.stdout.read().splitlines()
    assert sent == [None, None, "the receiver answered 401"]
    assert printed == [f"ocr.job.succeeded {event['subject']}"] * 2


async def _sent(url: str, event: dict[str, Any], secrets: list[str]) -> str | None:
    sender = WebhookSender(HttpClient(30), WebhookTargets((url,)), secrets, seconds=30)
    try:
        return (await sender.send(url, event)).error
    finally:
        await sender.aclose()


def _answers(port: int) -> bool:
    try:
        return httpx.post(f"http://127.0.0.1:{port}/", content=b"{}").status_code == 401
    except httpx.TransportError:
        return False
