"""Webhooks of real jobs: what a receiver gets, how often, and what the job shows about it."""

import base64
import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.clients.answers import problem_of
from tests.support.files.model_files import NO_TENSORS
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually
from tests.support.webhook_receiver import Reply, WebhookReceiver, new_secret

SECRET, OLD_SECRET = new_secret(), new_secret()


@pytest.fixture(scope="module")
def receiver(jobs_settings: dict[str, Any]) -> Iterator[WebhookReceiver]:
    """Run a receiver for the tests with one queue, since a path has each webhook once."""
    with WebhookReceiver() as server:
        yield server


@pytest.fixture(scope="module")
def dead() -> Iterator[WebhookReceiver]:
    """Run a receiver on another host."""
    with WebhookReceiver("127.0.0.2") as server:
        yield server


@pytest.fixture(scope="module")
def service(
    tmp_path_factory: pytest.TempPathFactory,
    receiver: WebhookReceiver,
    dead: WebhookReceiver,
    jobs_settings: dict[str, Any],
) -> Iterator[RunningService]:
    with RunningService(
        tmp_path_factory.mktemp("webhooks"),
        engine_class=ECHO,
        webhook_allowed_urls=f"{receiver.url}/hooks/,{dead.url}/",
        webhook_secret=f"{SECRET},{OLD_SECRET}",
        webhook_timeout="2m",  # a busy machine must not add attempts, which tests count
        webhook_retry_pause="0.1s",
        pull_allowed_urls=f"{receiver.url}/models/",
        pull_retries=0,
        **jobs_settings,
    ) as running:
        (running.models_dir / DEFAULT_MODEL).parent.mkdir(parents=True, exist_ok=True)
        (running.models_dir / DEFAULT_MODEL).write_bytes(NO_TENSORS)
        yield running.wait_until_ready().wait_for_queue()


def begin(service: RunningService, webhook: str, *texts: str) -> str:
    """Begin a job and return its path."""
    answer = service.client.post(
        "/ai/spell-check",
        params={"webhook": webhook},
        json={"texts": texts or ("a quik fox",)},
        headers={"prefer": "respond-async"},
    )
    assert answer.status_code == 202, answer.text
    assert answer.json()["webhook"] | {"url": ""} == {
        "url": "", "state": "pending", "attempts": 0, "last_error": None, "next_attempt_at": None,
    }  # fmt: skip
    return answer.headers["location"]


def delivery(service: RunningService, location: str, state: str) -> dict[str, Any]:
    """Wait until the webhook of a job is in a state, and return what the job shows about it."""

    def probe() -> dict[str, Any] | None:
        shown: dict[str, Any] = service.client.get(location).raise_for_status().json()["webhook"]
        return shown if shown["state"] == state else None

    return eventually(probe) or {}


def test_another_webhook_with_an_idempotency_key_is_refused(service: RunningService, receiver: WebhookReceiver) -> None:
    """Sent again with its key, a request gets its job; with another webhook or with none it is answered 422."""
    url, headers = f"{receiver.url}/hooks/key", {"idempotency-key": "webhook", "prefer": "respond-async"}

    def post(**params: str) -> Any:
        return service.client.post("/ai/spell-check", params=params, json={"texts": ["a text"]}, headers=headers)

    first = post(webhook=url).raise_for_status()

    assert post(webhook=f"{url}#again").json()["id"] == first.json()["id"]
    assert problem_of(post(webhook=f"{url}/other")) == (422, "idempotency-key-reused")
    assert problem_of(post()) == (422, "idempotency-key-reused")


def test_another_webhook_of_a_job_with_uploads_is_refused(service: RunningService, receiver: WebhookReceiver) -> None:
    """A request whose uploads are gone gets its job by its key, and is answered 422 with another webhook."""
    headers = {
        "upload-length": "7",
        "upload-metadata": f"purpose {base64.b64encode(b'images').decode()}",
        "content-type": "application/offset+octet-stream",
    }
    upload = service.client.post("/uploads", headers=headers, content=b"a photo").raise_for_status().json()

    def post(path: str) -> Any:
        params, key = {"webhook": f"{receiver.url}/hooks/{path}"}, {"idempotency-key": "webhook-of-uploads"}
        return service.client.post("/ocr/jobs", params=params, json={"uploads": [upload["id"]]}, headers=key)

    first = post("upload").raise_for_status()

    assert post("upload").json()["id"] == first.json()["id"]
    assert problem_of(post("other")) == (422, "idempotency-key-reused")


def test_the_end_of_a_job_is_a_signed_event(service: RunningService, receiver: WebhookReceiver) -> None:
    """The receiver gets one CloudEvent with the job as the API shows it; both secrets verify it."""
    location = begin(service, f"{receiver.url}/hooks/good?token=4711")

    (sent,) = receiver.wait_for("/hooks/good")
    shown = delivery(service, location, "delivered")

    job = service.client.get(location).json()
    assert sent.path == "/hooks/good?token=4711"
    assert sent.headers["content-type"] == "application/cloudevents+json"
    assert sent.verified(SECRET) == sent.verified(OLD_SECRET)
    event = sent.verified(SECRET)
    assert event.pop("source").startswith("urn:ocr-model-folder:")
    assert event == {
        "specversion": "1.0",
        "id": sent.id,
        "type": "ocr.job.succeeded",
        "subject": job["id"],
        "time": job["finished_at"],
        "datacontenttype": "application/json",
        "data": job | {"webhook": None},
    }
    assert shown == {
        "url": f"{receiver.url}/hooks/good",
        "state": "delivered",
        "attempts": 1,
        "last_error": None,
        "next_attempt_at": None,
    }
    assert "4711" not in service.log
    listed = service.client.get("/ai/jobs").json()["jobs"]
    assert next(each for each in listed if each["id"] == job["id"]) == job
    final = service.client.get(f"{location}/events").text.splitlines()[-1]
    assert json.loads(final) == job | {"final": True}


@pytest.mark.parametrize(
    ("name", "texts", "state"), [("failed", ("fail:odd",), "failed"), ("cancelled", ("wait_for:/never",), "cancelled")]
)
def test_each_end_of_a_job_is_told(
    service: RunningService, receiver: WebhookReceiver, name: str, texts: tuple[str, ...], state: str
) -> None:
    """A job that fails and a job that is cancelled are told too."""
    location = begin(service, f"{receiver.url}/hooks/{name}", *texts)
    if state == "cancelled":
        service.client.delete(location).raise_for_status()

    (sent,) = receiver.wait_for(f"/hooks/{name}")

    event = sent.verified(SECRET)
    assert (event["type"], event["data"]["state"]) == (f"ocr.job.{state}", state)
    assert (event["data"]["error"] is not None) == (state == "failed")


def test_failures_are_retried_with_the_same_id(service: RunningService, receiver: WebhookReceiver) -> None:
    """After errors, a redirect and a cut connection, the same event is sent again; Retry-After is respected."""
    redirect = {"location": f"{receiver.url}/hooks/elsewhere"}
    receiver.replies["/hooks/failing"].extend([
        Reply(503, {"retry-after": "2"}),
        Reply(307, redirect),
        Reply(is_cut=True),
        Reply(500),
    ])  # fmt: skip
    location = begin(service, f"{receiver.url}/hooks/failing")

    receiver.wait_for("/hooks/failing")
    waiting = delivery(service, location, "pending") if not receiver.to("/hooks/failing")[1:] else None
    shown = delivery(service, location, "delivered")

    sent = receiver.to("/hooks/failing")
    assert len(sent) == shown["attempts"] == 5
    assert len({each.id for each in sent}) == len({each.body for each in sent}) == 1
    assert sent[1].at - sent[0].at >= 2
    assert all(each.verified(SECRET) for each in sent)
    assert receiver.to("/hooks/elsewhere") == []
    if waiting and waiting["attempts"] == 1:
        assert "503" in waiting["last_error"]
        assert waiting["next_attempt_at"]
    errors = [line for line in service.log.splitlines() if "webhook.retried" in line and location[-12:] in line]
    assert ["503" in errors[0], "redirect" in errors[1], "cannot be reached" in errors[2], "500" in errors[3]] == [
        True
    ] * 4


@pytest.mark.parametrize("how", [{"gate": threading.Event()}, {"is_dripping": True}], ids=["silent", "dripping"])
def test_a_receiver_that_does_not_answer_in_time_is_asked_again(
    receiver: WebhookReceiver, tmp_path: Path, how: dict[str, Any]
) -> None:
    """After OCR_WEBHOOK_TIMEOUT without an answer the attempt has failed, and the event is sent again."""
    about: dict[str, Any] = {"webhook_allowed_urls": receiver.url, "webhook_secret": SECRET, "webhook_timeout": "1s"}
    receiver.replies["/hooks/silent"].append(Reply(**how))
    before = len(receiver.to("/hooks/silent"))
    (tmp_path / "models" / DEFAULT_MODEL).parent.mkdir(parents=True)
    (tmp_path / "models" / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    with RunningService(tmp_path, engine_class=ECHO, webhook_retry_pause="0.1s", **about) as running:
        location = begin(running.wait_until_ready(), f"{receiver.url}/hooks/silent")

        receiver.wait_for("/hooks/silent", count=before + 2)
        delivery(running, location, "delivered")

        first = next(line for line in running.log.splitlines() if "webhook.retried" in line)
        assert "did not answer within 1 s (OCR_WEBHOOK_TIMEOUT)" in first
    assert len({(each.id, each.body) for each in receiver.to("/hooks/silent")[before:]}) == 1


def test_gone_ends_the_attempts(service: RunningService, receiver: WebhookReceiver) -> None:
    """A receiver that answers 410 is not asked again; the job, the log and the metrics say that the webhook failed."""
    receiver.replies["/hooks/gone"].append(Reply(410))
    before = failed_count(service)

    location = begin(service, f"{receiver.url}/hooks/gone")

    shown = delivery(service, location, "failed")
    assert (shown["attempts"], shown["next_attempt_at"]) == (1, None)
    assert "410" in shown["last_error"]
    eventually(lambda: failed_count(service) == before + 1)  # counted and logged after the state was written
    assert "webhook.failed" in service.log


def failed_count(service: RunningService) -> float:
    metrics = service.client.get("/metrics").text.splitlines()
    (line,) = [each for each in metrics if each.startswith('ocr_webhook_attempts_total{outcome="failed"}')]
    return float(line.split()[-1])


def test_only_the_status_of_an_answer_counts(service: RunningService, receiver: WebhookReceiver) -> None:
    """An answer without an end is not read to its end."""
    receiver.replies["/hooks/endless"].append(Reply(202, is_endless=True))

    location = begin(service, f"{receiver.url}/hooks/endless")

    assert delivery(service, location, "delivered")["attempts"] == 1


def test_a_dead_receiver_does_not_delay_others(
    service: RunningService, receiver: WebhookReceiver, dead: WebhookReceiver
) -> None:
    """While a host answers nothing, webhooks to other hosts are delivered, and that host gets few at once."""
    gate = threading.Event()
    dead.replies["/dead"].extend([Reply(gate=gate)] * 100)
    try:
        waiting = [begin(service, f"{dead.url}/dead") for _ in range(8)]
        dead.wait_for("/dead")

        location = begin(service, f"{receiver.url}/hooks/alive")

        assert delivery(service, location, "delivered")["attempts"] == 1
        states = [service.client.get(each).json()["webhook"]["state"] for each in waiting]
        assert states == ["pending"] * 8
    finally:
        dead.replies["/dead"].clear()
        gate.set()
    for each in waiting:
        delivery(service, each, "delivered")


def test_a_pull_tells_its_end(service: RunningService, receiver: WebhookReceiver) -> None:
    """A pull takes the webhook in its JSON. While it runs, an equal pull with another webhook is refused."""
    gate = threading.Event()
    receiver.replies["/models/a.gguf"].extend([Reply(503), Reply(503, gate=gate), Reply(503)])
    body = {"url": f"{receiver.url}/models/a.gguf", "webhook": f"{receiver.url}/hooks/pulled"}
    created = service.client.post("/pulls", json=body)
    assert created.status_code == 202, created.text
    try:
        same = service.client.post("/pulls", json=body)
        without = service.client.post("/pulls", json={"url": body["url"]})
        other = service.client.post("/pulls", json=body | {"webhook": f"{receiver.url}/hooks/other"})
    finally:
        gate.set()

    assert [same.status_code, same.json()["id"]] == [without.status_code, without.json()["id"]]
    assert (same.status_code, same.json()["id"]) == (200, created.json()["id"])
    assert problem_of(other) == (409, "pull-conflict")
    (sent,) = receiver.wait_for("/hooks/pulled")
    assert sent.verified(SECRET)["type"] == "ocr.job.failed"
    assert sent.verified(SECRET)["data"]["request"] == {"url": body["url"], "revision": "main", "if_exists": "fail"}


def test_webhooks_arrive_from_forms_too(service: RunningService, receiver: WebhookReceiver) -> None:
    """`/ocr/jobs` takes the webhook as a field of its form, and does not show it among the request's options."""
    answer = service.client.post(
        "/ocr/jobs", data={"webhook": f"{receiver.url}/hooks/form"}, files={"file": ("a.png", b"no image")}
    )
    assert answer.status_code == 202, answer.text
    assert "webhook" not in answer.json()["request"]

    (sent,) = receiver.wait_for("/hooks/form")

    assert sent.verified(SECRET)["subject"] == answer.json()["id"]


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("http://169.254.169.254/latest/meta-data", "OCR_WEBHOOK_ALLOWED_URLS"),
        ("http://127.0.0.1:1/hooks/", "OCR_WEBHOOK_ALLOWED_URLS"),
        ("http://127.0.0.3/", "OCR_WEBHOOK_ALLOWED_URLS"),
        ("ftp://127.0.0.1/hooks/", "OCR_WEBHOOK_ALLOWED_URLS"),
        ("{url}/other", "OCR_WEBHOOK_ALLOWED_URLS"),
        ("{url}/hooks/../other", "OCR_WEBHOOK_ALLOWED_URLS"),
        ("{url}/hooks/%2e%2e/other", "OCR_WEBHOOK_ALLOWED_URLS"),
        ("{user}/hooks/", "user or a password"),
        ("http://[::1", "not a valid URL"),
        ("", "it is empty"),
        ("{url}/hooks/" + "a" * 3000, "2,048 characters"),
    ],
)
def test_other_urls_are_refused(service: RunningService, receiver: WebhookReceiver, url: str, reason: str) -> None:
    """A webhook elsewhere, such as an address of the network that nobody has allowed, is refused before any work."""
    asked = url.format(url=receiver.url, user=receiver.url.replace("//", "//me:secret@"))
    before = service.client.get("/ai/jobs").json()["count"]

    answers = (
        service.client.post(
            "/ai/spell-check", params={"webhook": asked}, json={"texts": ["a"]}, headers={"prefer": "respond-async"}
        ),
        service.client.post("/ocr/jobs", params={"webhook": asked}, files={"file": ("a.png", b"")}),
        service.client.post("/pulls", json={"repository": "org/repo", "file": "a.gguf", "webhook": asked}),
    )

    for answer in answers:
        assert problem_of(answer) == (422, "invalid-request")
        assert reason in str(answer.json()["errors"])
        assert "secret" not in answer.text
    assert service.client.get("/ai/jobs").json()["count"] == before


def test_only_a_job_has_a_webhook(service: RunningService, receiver: WebhookReceiver) -> None:
    """A request without a job refuses a webhook, which it could only ignore."""
    params = {"webhook": f"{receiver.url}/hooks/good"}

    for answer in (
        service.client.post("/ai/spell-check", params=params, json={"texts": ["a"]}),
        service.client.post("/ocr", params=params, files={"file": ("a.png", b"")}),
        service.client.post("/ocr", data=params, files={"file": ("a.png", b"")}),
    ):
        assert problem_of(answer) == (422, "invalid-request")
        assert "respond-async" in str(answer.json()["errors"])


def test_a_damaged_record_costs_no_other_webhook(service: RunningService, receiver: WebhookReceiver) -> None:
    """The job whose record is damaged says so; the record is counted, stays as it is, and others are delivered."""
    gate = threading.Event()
    receiver.replies["/hooks/damaged"].append(Reply(gate=gate))
    location = begin(service, f"{receiver.url}/hooks/damaged")
    receiver.wait_for("/hooks/damaged")
    record = service.models_dir / ".store" / "webhooks" / f"{location.rpartition('/')[2]}.json"
    gate.set()
    delivery(service, location, "delivered")
    record.write_text('{"id": 5}')
    try:
        shown = delivery(service, location, "failed")
        assert "damaged" in shown["last_error"]
        other = begin(service, f"{receiver.url}/hooks/good")
        assert delivery(service, other, "delivered")
        assert record.read_text() == '{"id": 5}'
        assert 'ocr_store_damaged_records{kind="webhook"} 1.0' in service.client.get("/metrics").text
    finally:
        record.unlink()


def test_a_service_without_allowed_urls_says_what_to_set(tmp_path: Path) -> None:
    """Without OCR_WEBHOOK_ALLOWED_URLS each webhook is refused."""
    with RunningService(tmp_path, engine_class=ECHO) as running:
        answer = running.client.post("/ocr/jobs?webhook=https://a.example/", files={"file": ("a.png", b"")})
    assert problem_of(answer) == (422, "invalid-request")
    assert "OCR_WEBHOOK_ALLOWED_URLS" in str(answer.json()["errors"])
