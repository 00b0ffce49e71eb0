"""Pulls of OCR models from a web site with `RESOURCES.json` and the files."""

import hashlib
import json
import signal
from typing import Any

import httpx
import pytest

from tests.api.pulls.requests import CONTENT, CUT, SHA256, finished, nothing_is_left, outcome_of
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.hub import Fault, Hub
from tests.support.service import RunningService
from tests.support.waiting import eventually, file_sizes

NAME = "aspose-ocr-cyrillic-v1"
FILE = f"/ocr/{NAME}.ocr"
CHECKED = [Fault(), Fault()]
"""The requests of `POST /pulls` and of the beginning of the job: for the list, and for the size of the file."""


def put_list(hub: Hub, *entries: Any) -> None:
    """Let the site offer these OCR models."""
    hub.put("/ocr/RESOURCES.json", json.dumps({"actual": entries, "archive": []}).encode())


@pytest.fixture
def site(hub: Hub) -> Hub:
    """Return the shared server with a site that offers one OCR model below `/ocr`."""
    put_list(hub, {"file": NAME}, {"file": "aspose-ocr-arabic-v1"})
    hub.put(FILE, CONTENT)
    return hub


def request_resource(service: RunningService, resource: str = NAME, **body: Any) -> httpx.Response:
    """Request a pull of an OCR model and return the answer."""
    return service.client.post("/pulls", json={"resource": resource} | body)


def test_an_ocr_model_lies_in_the_model_folder_itself(service: RunningService, site: Hub) -> None:
    """An OCR model is pulled by name, also with its suffix, is recognised, and has the vendor's protocol's requests."""
    job = finished(service, request_resource(service, f"{NAME}.ocr"))

    assert job["state"] == "succeeded", job
    assert job["result"]["models"] == [
        {"name": f"{NAME}.ocr", "size_bytes": len(CONTENT), "sha256": SHA256, "outcome": "pulled"}
    ]
    assert job["request"]["resource"] == NAME
    assert (service.models_dir / f"{NAME}.ocr").read_bytes() == CONTENT
    detail = eventually(
        lambda: d if (d := service.client.get(f"/models/{NAME}.ocr").json())["recognised"] else None, within=30
    )
    assert (detail["sha256"], detail["remark"]) == (SHA256, None)
    assert {seen.path for seen in site.asked("cdn")} == {"/ocr/RESOURCES.json?raw=true", FILE}


def test_a_broken_download_continues_where_it_ended(service: RunningService, site: Hub) -> None:
    """After a broken connection the rest is requested with Range, and the file is whole."""
    site.faults.extend([*CHECKED, *CHECKED, Fault(cut_after=CUT)])

    assert finished(service, request_resource(service))["state"] == "succeeded"
    assert (service.models_dir / f"{NAME}.ocr").read_bytes() == CONTENT
    assert f"bytes={CUT}-" in [seen.headers["Range"] for seen in site.asked("cdn")]


@pytest.mark.slow
def test_another_service_continues_the_pull_of_a_killed_one(start: Serve, site: Hub) -> None:
    """If the service is killed in the middle of the file, the next one on the folder continues at the byte."""
    site.faults.extend([*CHECKED, *CHECKED, Fault(wait_after=CUT)])
    settings = {"resources_url": f"{site.cdn_url}/ocr"}
    first = start(**settings)
    request_resource(first)
    staging = first.models_dir / ".store/staging"
    eventually(lambda: any(size >= CUT for size in file_sizes(staging)), within=60)
    first.stop(signal.SIGKILL)

    second = start(**settings)

    eventually((second.models_dir / f"{NAME}.ocr").exists, within=60)
    assert (second.models_dir / f"{NAME}.ocr").read_bytes() == CONTENT
    assert any((seen.headers["Range"] or "").startswith("bytes=") for seen in site.asked("cdn"))


def test_what_the_list_states_is_checked(service: RunningService, site: Hub) -> None:
    """A file of another size or digest than the list states is not published; the right ones are."""
    put_list(site, {"file": NAME, "size_bytes": len(CONTENT) + 1})
    longer = finished(service, request_resource(service))
    put_list(site, {"file": NAME, "size_bytes": len(CONTENT), "sha256": "0" * 64})
    other = finished(service, request_resource(service))
    assert nothing_is_left(service)
    put_list(site, {"file": f"{NAME}.ocr", "size_bytes": len(CONTENT), "sha256": SHA256.upper()})
    right = finished(service, request_resource(service))

    assert outcome_of(longer) == ("failed", "source-mismatch")
    assert outcome_of(other) == ("failed", "digest-mismatch")
    assert right["state"] == "succeeded"


def test_a_site_that_sends_less_or_more_than_it_says(service: RunningService, site: Hub) -> None:
    """A file that is always shorter than its first answer said is never published."""
    site.faults.extend([*CHECKED, *CHECKED, *[Fault(missing_bytes=10)] * 9])

    job = finished(service, request_resource(service))

    assert outcome_of(job) == ("failed", "source-mismatch")
    assert nothing_is_left(service)


def test_a_name_that_the_site_does_not_offer(service: RunningService, site: Hub) -> None:
    """A name that is neither in the list nor a file gets 404 with the nearest names; an unlisted file counts."""
    answer = request_resource(service, "aspose-ocr-cyrilic-v1")

    assert problem_of(answer) == (404, "source-not-found")
    assert f"Did you mean {NAME}" in answer.json()["detail"]

    site.put("/ocr/aspose-ocr-new-v1.ocr", CONTENT)
    assert finished(service, request_resource(service, "aspose-ocr-new-v1"))["state"] == "succeeded"


@pytest.mark.parametrize(
    "received",
    [b"<html>log in</html>", b"[]", b'{"actual": {}}', b"[" * 100_000, b'{"actual": []' + b" " * (1 << 20) + b"}"],
    ids=["page", "array", "object", "nested", "huge"],
)
def test_lists_that_are_no_lists(service: RunningService, hub: Hub, received: bytes) -> None:
    """A list that is no list, or too large, answers 502 that names the list."""
    hub.put("/ocr/RESOURCES.json", received)

    answer = request_resource(service)

    assert problem_of(answer) == (502, "source-mismatch")
    assert "RESOURCES.json" in answer.json()["detail"]


def test_entries_that_are_no_names_are_ignored(service: RunningService, site: Hub) -> None:
    """Names that lead elsewhere, and entries of other types, are left out; the others are offered."""
    entries = ["x", None, {"file": 1}, {"file": "../secret"}, {"file": "a/b"}, {"file": "x" * 300}, {"name": NAME}]
    put_list(site, *entries, {"file": NAME, "size_bytes": -1, "sha256": "none"})

    assert finished(service, request_resource(service))["state"] == "succeeded"
    assert problem_of(request_resource(service, "../secret")) == (422, "invalid-request")


def test_a_web_page_in_place_of_the_file_is_refused(service: RunningService, site: Hub) -> None:
    """A file of type text/html, such as a login page, answers 502 before a job is created."""
    site.faults.extend([Fault(), Fault(headers={"Content-Type": "text/html; charset=utf-8"})])

    answer = request_resource(service)

    assert problem_of(answer) == (502, "source-mismatch")
    assert "OCR_RESOURCES_URL" in answer.json()["detail"]


def test_redirects_stay_below_the_site_or_an_allowed_url(service: RunningService, site: Hub) -> None:
    """A redirect to another place answers 403; one below an allowed URL is followed."""
    site.redirects[FILE] = f"{site.url}/elsewhere.ocr"
    elsewhere = request_resource(service)
    site.redirects[FILE] = site.put("/models/cyrillic.ocr", CONTENT)
    allowed = finished(service, request_resource(service))

    assert problem_of(elsewhere) == (403, "source-not-allowed")
    assert allowed["state"] == "succeeded"
    assert site.asked("hub") == []


def test_pulls_of_ocr_models_can_be_turned_off(start: Serve, hub: Hub) -> None:
    """With OCR_RESOURCES_URL=off a pull of an OCR model answers 403, and no site is asked."""
    answer = request_resource(start(resources_url="off"))

    assert problem_of(answer) == (403, "source-not-allowed")
    assert "OCR_RESOURCES_URL" in answer.json()["detail"]
    assert hub.seen == []


def test_a_request_names_one_source(service: RunningService) -> None:
    """`resource` excludes the fields of other sources."""
    for more in ({"url": "http://x/a"}, {"repository": "org/repo"}, {"file": "a"}, {"name": "a"}, {"revision": "v1"}):
        assert problem_of(request_resource(service, **more)) == (422, "invalid-request")


def test_the_digest_of_the_request_counts(service: RunningService, site: Hub) -> None:
    """`sha256` of the request replaces the list's."""
    put_list(site, {"file": NAME, "sha256": SHA256})
    wrong = hashlib.sha256(b"").hexdigest()

    assert outcome_of(finished(service, request_resource(service, sha256=wrong))) == ("failed", "digest-mismatch")
