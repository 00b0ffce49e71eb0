"""Pulls from a repository of the hub, also when the hub answers with errors."""

from pathlib import Path
from typing import Any

import pytest

from tests.api.pulls.requests import (
    CONTENT,
    CUT,
    FILE,
    NAME,
    REPOSITORY,
    SHA256,
    finished,
    nothing_is_left,
    outcome_of,
    pull,
    request_pull,
    request_url_pull,
    staged_files,
)
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.hub import COMMIT, Fault, Hub
from tests.support.service import RunningService
from tests.support.waiting import eventually


def test_a_file_of_a_repository_becomes_a_model(service: RunningService, hub: Hub) -> None:
    """A pulled file gets the name that AsposeAI expects, its digest on record, and a line in the journal."""

    before = service.client.get("/journal").json()["events"]

    answer = request_pull(service)
    job = finished(service, answer)

    assert answer.status_code == 202
    assert answer.headers["location"] == f"/pulls/{answer.json()['id']}"
    assert job["result"] == {
        "models": [{"name": NAME, "size_bytes": len(CONTENT), "sha256": SHA256, "outcome": "pulled"}]
    }
    assert (job["progress"]["done"], job["progress"]["total"], job["created_by"]) == (len(CONTENT),) * 2 + (
        "anonymous",
    )
    assert (service.models_dir / NAME).read_bytes() == CONTENT
    assert service.client.get(f"/models/{NAME}").json()["sha256"] == SHA256
    event, *earlier = service.client.get("/journal").json()["events"]
    assert (event["action"], event["name"], event["actor"]) == ("pulled", NAME, "anonymous")
    assert earlier == before
    eventually(lambda: staged_files(service) == [])
    assert all(f"/resolve/{COMMIT}/" in seen.path for seen in hub.asked("hub", "GET"))


def test_several_files_are_one_job(service: RunningService, hub: Hub) -> None:
    """A pattern pulls several files as one job, also small files, for which the hub has no SHA-256."""
    parts = {f"m-0000{n}-of-00002.gguf": b"%d" % n * 5000 for n in (1, 2)}
    for name, content in parts.items():
        hub.add(REPOSITORY, name, content)
    hub.add(REPOSITORY, "m-config.json", b"{}", is_large=False)

    job = pull(service, file=None, files="m-*")

    assert job["state"] == "succeeded", job
    names = [model["name"] for model in job["result"]["models"]]
    assert names == ["org_repo/m-00001-of-00002.gguf", "org_repo/m-00002-of-00002.gguf", "org_repo/m-config.json"]
    assert job["progress"]["total"] == job["progress"]["done"] == 10_002
    assert (service.models_dir / names[1]).read_bytes() == parts["m-00002-of-00002.gguf"]


def test_a_broken_download_is_resumed(service: RunningService, hub: Hub) -> None:
    """A broken download continues with a range request and If-Range; no byte is requested twice."""
    hub.faults.extend([Fault(cut_after=CUT), Fault(cut_after=CUT)])

    assert pull(service)["state"] == "succeeded"

    assert (service.models_dir / NAME).read_bytes() == CONTENT
    ranges = [seen.headers.get("Range") for seen in hub.asked("cdn")]
    assert ranges == [None, f"bytes={CUT}-", f"bytes={2 * CUT}-"]
    assert all(seen.headers["If-Range"] for seen in hub.asked("cdn")[1:])


@pytest.mark.parametrize("second", [Fault(ignore_range=True), Fault(status=416)])
def test_a_download_starts_over_without_ranges(service: RunningService, hub: Hub, second: Fault) -> None:
    """A broken download starts over if the source ignores the range or answers 416."""
    hub.faults.extend([Fault(cut_after=CUT), second])

    assert pull(service)["state"] == "succeeded"
    assert (service.models_dir / NAME).read_bytes() == CONTENT


def test_two_versions_of_a_file_are_never_mixed(service: RunningService, hub: Hub) -> None:
    """If a file's ETag changes during a pull, the new version is downloaded from its first byte."""
    newer = CONTENT[::-1]
    url = hub.put("/models/a.bin", CONTENT)
    hub.faults.extend([Fault(wait_after=0), Fault(cut_after=CUT), Fault(content=newer)])
    hub.faults[0].gate.set()

    job = finished(service, request_url_pull(service, url))

    assert job["state"] == "succeeded", job
    assert (service.models_dir / "a.bin").read_bytes() == newer


@pytest.mark.parametrize(
    ("faults", "slug"),
    [
        ([Fault(missing_bytes=10)], "source-mismatch"),
        ([Fault(content=CONTENT[:-1] + b"?")], "digest-mismatch"),
        ([Fault(headers={"Content-Encoding": "gzip"})], "source-mismatch"),
        ([Fault(status=403)], "source-refused"),
        ([Fault(status=404)], "source-not-found"),
        ([Fault(status=500)] * 4, "source-unavailable"),
        ([Fault(cut_after=0)] * 4, "source-unavailable"),
        ([Fault(status=429, headers={"Retry-After": "86400"})], "source-unavailable"),
    ],
)
def test_a_failed_pull_leaves_nothing(service: RunningService, hub: Hub, faults: list[Fault], slug: str) -> None:
    """A failed pull has a problem with the reason, and leaves no model and no file in staging."""
    hub.faults.extend(faults)

    job = pull(service)

    assert (*outcome_of(job), job["phase"]) == ("failed", slug, "failed")
    assert len(job["error"]["detail"]) > 40
    eventually(lambda: nothing_is_left(service))
    assert not hub.faults


def test_a_pull_retries_after_429_and_5xx(service: RunningService, hub: Hub) -> None:
    """A pull retries after 429 and 5xx, with or without Retry-After; a received byte resets the count of failures."""
    later = {"Retry-After": "1"}
    hub.hub_faults.extend([Fault(), Fault(status=503), Fault(status=429, headers=later)])
    hub.faults.extend(
        [Fault(status=429), Fault(status=503), Fault(cut_after=CUT), Fault(status=500), Fault(status=502)]
    )

    assert pull(service)["state"] == "succeeded"
    assert (service.models_dir / NAME).read_bytes() == CONTENT


def test_a_stalled_connection_is_replaced(start: Serve, hub: Hub) -> None:
    """A connection that brings no byte for OCR_PULL_STALL_TIMEOUT is replaced, and the download continues."""
    hub.faults.append(Fault(wait_after=CUT))
    service = start(pull_stall_timeout="1s")

    assert pull(service)["state"] == "succeeded"
    assert (service.models_dir / NAME).read_bytes() == CONTENT


@pytest.mark.parametrize(
    ("body", "status", "slug"),
    [
        ({"repository": "org/nope"}, 404, "source-not-found"),
        ({"file": "nope.gguf"}, 404, "source-not-found"),
        ({"revision": "nope"}, 404, "source-not-found"),
        ({"file": None, "files": "*.nope"}, 404, "source-not-found"),
        ({"repository": "a--b/.."}, 404, "source-not-found"),
        ({"file": "../../x"}, 422, "invalid-model-name"),
        ({"file": None}, 422, "invalid-request"),
        ({"files": "*"}, 422, "invalid-request"),
        ({"name": "a.bin"}, 422, "invalid-request"),
        ({"url": "https://models.example/a.bin"}, 422, "invalid-request"),
        ({"sha256": "00"}, 422, "invalid-request"),
        ({"if_exists": "maybe"}, 422, "invalid-request"),
    ],
)
def test_an_impossible_pull_is_refused_without_a_job(
    service: RunningService, body: dict[str, Any], status: int, slug: str
) -> None:
    """A request for a missing file, or with invalid fields, gets its problem at once and creates no job."""
    jobs = service.client.get("/pulls").json()["count"]

    answer = request_pull(service, **body)

    assert problem_of(answer) == (status, slug), answer.text
    assert service.client.get("/pulls").json()["count"] == jobs


@pytest.mark.slow
def test_a_gated_repository_requires_a_token(start: Serve, hub: Hub, tmp_path: Path) -> None:
    """A gated repository requires OCR_HUB_TOKEN, which is sent to the hub only and never logged."""
    hub.token = "hf_secret"
    hub.gated.add(REPOSITORY)
    (tmp_path / "token").write_text("hf_secret\n")

    for settings in ({}, {"hub_token": "hf_wrong"}):
        service = start(**settings)
        refused = request_pull(service)
        assert problem_of(refused) == (502, "source-refused")
        assert "OCR_HUB_TOKEN" in refused.json()["detail"]
        service.stop()  # with a database it could take the pull of the next one
    service = start(hub_token_file=tmp_path / "token")
    assert pull(service)["state"] == "succeeded"

    assert {seen.headers["Authorization"] for seen in hub.asked("hub", "GET")} == {"Bearer hf_secret"}
    assert hub.asked("cdn")
    assert not any("Authorization" in seen.headers for seen in hub.seen if seen.server == "cdn")
    assert "hf_secret" not in service.log


@pytest.mark.slow
def test_the_token_of_this_machine_is_not_sent(start: Serve, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """HF_TOKEN of the environment is not sent; only the token of the settings may be."""
    monkeypatch.setenv("HF_TOKEN", "hf_somebodys")

    assert pull(start())["state"] == "succeeded"
    assert not any("Authorization" in seen.headers for seen in hub.seen)


def test_a_model_that_does_not_fit_is_refused(service: RunningService, hub: Hub) -> None:
    """A pull of a file larger than the free space gets 507 with both sizes, before a byte is downloaded."""
    hub.sizes[REPOSITORY, FILE] = 1 << 60

    refused = request_pull(service)

    assert (refused.status_code, refused.json()["need_bytes"]) == (507, 1 << 60)
    eventually(lambda: nothing_is_left(service))


@pytest.mark.slow
def test_if_exists_decides_about_an_existing_model(service: RunningService, hub: Hub) -> None:
    """If the model exists, `fail` answers 409, `keep` succeeds, and `replace` replaces only another version."""
    pull(service)
    asked = len(hub.asked("cdn"))

    refused = request_pull(service)
    assert problem_of(refused) == (409, "model-exists")
    for if_exists in ("keep", "replace"):
        assert pull(service, if_exists=if_exists)["result"]["models"][0]["outcome"] == "kept"
    assert len(hub.asked("cdn")) == asked

    hub.add(REPOSITORY, FILE, b"newer")
    assert pull(service, if_exists="replace")["result"]["models"][0]["outcome"] == "pulled"
    assert (service.models_dir / NAME).read_bytes() == b"newer"
    assert service.client.get("/trash").json()["count"] == 1


def test_what_was_left_out_or_is_something_else_is_told(service: RunningService, hub: Hub) -> None:
    """A pull of all files leaves out names that no model can have; these, and a page as .gguf, are in its warnings."""
    hub.forget()
    hub.add(REPOSITORY, ".gitattributes", b"*.gguf filter=lfs", is_large=False)
    hub.add(REPOSITORY, "../up.bin", b"outside", is_large=False)
    hub.add(REPOSITORY, "page.gguf", b"<!doctype html><title>Log in</title>")
    hub.add(REPOSITORY, "readme.md", b"# A model", is_large=False)

    job = pull(service, file=None, files="*")
    refused = request_pull(service, file=None, files=".git*")

    assert job["state"] == "succeeded", job
    assert [model["name"] for model in job["result"]["models"]] == ["org_repo/page.gguf", "org_repo/readme.md"]
    assert [warning.partition(" ")[0] for warning in job["warnings"]] == [
        "org_repo/../up.bin",
        "org_repo/.gitattributes",
        "org_repo/page.gguf:",
    ]
    assert "its name ends in .gguf" in job["warnings"][-1]
    assert list(job["result"]) == ["models"]
    assert problem_of(refused) == (404, "source-not-found")
    assert "no model can have" in refused.json()["detail"]
