"""Pulls from plain URLs, which OCR_PULL_ALLOWED_URLS limits."""

import hashlib
import json

from tests.api.pulls.requests import REPOSITORY, finished, outcome_of, request_url_pull
from tests.support.clients.answers import problem_of
from tests.support.hub import Hub
from tests.support.service import RunningService


def test_only_allowed_urls_are_pulled(service: RunningService, pair: list[RunningService], hub: Hub) -> None:
    """Only URLs below an allowed URL are pulled, compared part by part; without the setting no URL is."""
    url = hub.put("/models/a.bin", b"model")
    hub.put("/models2/a.bin", b"model")

    refused = [request_url_pull(pair[0], url)]
    elsewhere = (
        f"{hub.cdn_url}/models2/a.bin",
        f"{hub.cdn_url}/models/../models2/a.bin",
        f"{hub.cdn_url}/models/%2e%2e/models2/a.bin",
        f"{hub.url}/models/a.bin",
        f"http://{hub.cdn_url.removeprefix('http://')}@127.0.0.1/models/a.bin",
        f"{hub.cdn_url.replace('http:', 'https:')}/models/a.bin",
        f"{hub.cdn_url.rpartition(':')[0]}:1/models/a.bin",
        "file:///etc/passwd",
        "http://[",
    )
    refused += [request_url_pull(service, each) for each in elsewhere]
    nameless = [request_url_pull(service, f"{hub.cdn_url}/models/{end}") for end in ("", "?a=b", "#c")]
    job = finished(
        service, request_url_pull(service, url, name="plain/b.bin", sha256=hashlib.sha256(b"model").hexdigest().upper())
    )

    assert {problem_of(answer) for answer in refused} == {(403, "source-not-allowed")}
    assert {problem_of(answer) for answer in nameless} == {(422, "invalid-request")}
    assert all("name must be given" in answer.json()["detail"] for answer in nameless)
    assert "OCR_PULL_ALLOWED_URLS" in refused[0].json()["detail"]
    assert (job["state"], job["result"]["models"][0]["name"]) == ("succeeded", "plain/b.bin")
    assert {seen.path for seen in hub.seen} == {"/models/a.bin"}


def test_redirects_must_stay_below_allowed_urls(service: RunningService, hub: Hub) -> None:
    """A redirect is followed only to an allowed URL, also while the file is downloaded."""
    target = hub.put("/models/a.bin", b"model")
    hub.redirects |= {
        "/models/out": f"{hub.url}/api/models/{REPOSITORY}",
        "/models/in": target,
        "/models/round": "/models/round",
        "/models/nowhere": "http://[",
    }

    out = request_url_pull(service, f"{hub.cdn_url}/models/out")
    within = finished(service, request_url_pull(service, f"{hub.cdn_url}/models/in", name="a.bin"))
    around = finished(service, request_url_pull(service, f"{hub.cdn_url}/models/round"))
    nowhere = request_url_pull(service, f"{hub.cdn_url}/models/nowhere")

    assert problem_of(out) == (403, "source-not-allowed")
    assert within["state"] == "succeeded"
    assert outcome_of(around) == ("failed", "source-unavailable")
    assert nowhere.status_code == 403
    assert hub.asked("hub") == []


def test_a_urls_query_is_not_shown(service: RunningService, hub: Hub) -> None:
    """A URL's query, which may hold a signature, is neither in the job nor in the log."""
    url = hub.put("/models/a.bin", b"model")

    job = finished(service, request_url_pull(service, f"{url}?signature=secret", sha256="0" * 64))

    assert outcome_of(job) == ("failed", "digest-mismatch")
    assert job["request"]["url"] == url
    assert "secret" not in json.dumps(job) + service.log
    assert "signature=secret" in hub.asked("cdn")[-1].path
