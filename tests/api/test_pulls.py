"""Models are pulled from a hub and from URLs, whatever happens on the way."""

import hashlib
import json
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.conftest import Serve
from tests.support.answers import problem_of
from tests.support.hub import COMMIT, Fault, Hub, running_hub
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

REPOSITORY = "org/repo"
FILE = "model-Q4.gguf"
NAME = "org_repo/model-Q4.gguf"
CONTENT = b"".join(hashlib.sha256(b"%d" % n).digest() for n in range(3 << 15))
SHA256 = hashlib.sha256(CONTENT).hexdigest()
FINISHED = {"succeeded", "failed", "cancelled"}
CUT = 1 << 20


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[RunningService, Hub]]:
    """One service and its hub, for what leaves nothing behind."""
    with running_hub() as hub:
        hub.add(REPOSITORY, FILE, CONTENT)
        folder = tmp_path_factory.mktemp("strict")
        settings: dict[str, Any] = {"hub_endpoint": hub.url, "pull_retry_pause": "0.01s", "pull_retries": 3}
        with RunningService(folder, engine_class=ECHO, **settings) as service:
            yield service, hub


@pytest.fixture
def hub() -> Iterator[Hub]:
    with running_hub() as running:
        running.add(REPOSITORY, FILE, CONTENT)
        yield running


@pytest.fixture
def start(serve: Serve, hub: Hub) -> Serve:
    """Start services that pull from the test's own hub, and hardly pause before they try again."""
    settings = {"engine_class": ECHO, "hub_endpoint": hub.url, "pull_retry_pause": "0.01s", "pull_retries": 3}
    return lambda **more: serve(**settings | more)


def ask(service: RunningService, **body: Any) -> httpx.Response:
    return service.client.post("/pulls", json={"repository": REPOSITORY, "file": FILE} | body)


def ask_url(service: RunningService, url: str, **body: Any) -> httpx.Response:
    return service.client.post("/pulls", json={"url": url} | body)


def pull(service: RunningService, **body: Any) -> dict[str, Any]:
    return finished(service, ask(service, **body))


def finished(service: RunningService, answer: httpx.Response) -> dict[str, Any]:
    """The job of an answer, once it is finished."""
    assert answer.status_code in {200, 202}, answer.text
    return eventually(lambda: job if (job := job_at(service, answer))["state"] in FINISHED else None, within=20)


def job_at(service: RunningService, answer: httpx.Response) -> dict[str, Any]:
    return dict(service.client.get(answer.headers["location"]).raise_for_status().json())


def told(job: dict[str, Any]) -> tuple[str, str]:
    """The state and the end of the problem's type."""
    return job["state"], job["error"]["type"].rpartition(":")[2] if job["error"] else ""


def left(service: RunningService) -> list[str]:
    return sorted(path.name for path in (service.models_dir / ".store/staging").iterdir())


def nothing_is_left(service: RunningService) -> bool:
    return left(service) == [] and service.client.get("/models").json()["count"] == 0


def test_a_file_of_a_repository_becomes_a_model(start: Serve, hub: Hub) -> None:
    """Where AsposeAI looks for it, whole, its digest recorded, with a line in the journal."""
    service = start()

    answer = ask(service)
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
    (event,) = service.client.get("/journal").json()["events"]
    assert (event["action"], event["name"], event["actor"]) == ("pulled", NAME, "anonymous")
    assert left(service) == []
    assert all(f"/resolve/{COMMIT}/" in seen.path for seen in hub.asked("hub", "GET"))


def test_several_files_are_one_job(start: Serve, hub: Hub) -> None:
    """A pattern; also small files, which the hub keeps itself and gives no SHA-256 for."""
    parts = {f"m-0000{n}-of-00002.gguf": b"%d" % n * 5000 for n in (1, 2)}
    for name, content in parts.items():
        hub.add(REPOSITORY, name, content)
    hub.add(REPOSITORY, "m-config.json", b"{}", is_large=False)
    service = start()

    job = pull(service, file=None, files="m-*")

    assert job["state"] == "succeeded", job
    names = [model["name"] for model in job["result"]["models"]]
    assert names == ["org_repo/m-00001-of-00002.gguf", "org_repo/m-00002-of-00002.gguf", "org_repo/m-config.json"]
    assert job["progress"]["total"] == job["progress"]["done"] == 10_002
    assert (service.models_dir / names[1]).read_bytes() == parts["m-00002-of-00002.gguf"]


def test_a_cut_connection_is_gone_on_with(start: Serve, hub: Hub) -> None:
    """By a range of the very version, and every byte is asked for once."""
    hub.faults.extend([Fault(cut_after=CUT), Fault(cut_after=CUT)])
    service = start()

    assert pull(service)["state"] == "succeeded"

    assert (service.models_dir / NAME).read_bytes() == CONTENT
    ranges = [seen.headers.get("Range") for seen in hub.asked("cdn")]
    assert ranges == [None, f"bytes={CUT}-", f"bytes={2 * CUT}-"]
    assert all(seen.headers["If-Range"] for seen in hub.asked("cdn")[1:])


@pytest.mark.parametrize("second", [Fault(ignore_range=True), Fault(status=416)])
def test_without_ranges_it_starts_over(start: Serve, hub: Hub, second: Fault) -> None:
    """What came before is dropped, and what comes is whole."""
    hub.faults.extend([Fault(cut_after=CUT), second])
    service = start()

    assert pull(service)["state"] == "succeeded"
    assert (service.models_dir / NAME).read_bytes() == CONTENT


def test_a_file_that_changes_midway_is_never_mixed(start: Serve, hub: Hub) -> None:
    """Another ETag, and the new version comes from its first byte on."""
    newer = CONTENT[::-1]
    url = hub.put("/plain/a.bin", CONTENT)
    service = start(pull_allowed_urls=hub.cdn_url)
    hub.faults.extend([Fault(wait_after=0), Fault(cut_after=CUT), Fault(content=newer)])
    hub.faults[0].gate.set()

    job = finished(service, ask_url(service, url))

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
def test_what_goes_wrong_for_good_leaves_nothing(
    strict: tuple[RunningService, Hub], faults: list[Fault], slug: str
) -> None:
    """The job says why; no model, no bytes in staging."""
    service, hub = strict
    hub.served.clear()
    hub.faults.extend(faults)

    job = pull(service)

    assert told(job) == ("failed", slug)
    assert len(job["error"]["detail"]) > 40
    assert nothing_is_left(service)
    assert not hub.faults


def test_who_is_overloaded_is_asked_again_later(start: Serve, hub: Hub) -> None:
    """429 and 503, with and without Retry-After; what is received in between forgives."""
    later = {"Retry-After": "1"}
    hub.hub_faults.extend([Fault(), Fault(status=503), Fault(status=429, headers=later)])
    hub.faults.extend(
        [Fault(status=429), Fault(status=503), Fault(cut_after=CUT), Fault(status=500), Fault(status=502)]
    )
    service = start()

    assert pull(service)["state"] == "succeeded"
    assert (service.models_dir / NAME).read_bytes() == CONTENT


def test_a_connection_that_stalls_is_tried_anew(start: Serve, hub: Hub) -> None:
    """Nothing for too long is as good as cut."""
    hub.faults.append(Fault(wait_after=CUT))
    service = start(pull_stall_timeout="0.2s")

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
def test_what_cannot_be_pulled_is_refused_at_once(
    strict: tuple[RunningService, Hub], body: dict[str, Any], status: int, slug: str
) -> None:
    """Without a job."""
    service, _ = strict
    jobs = service.client.get("/pulls").json()["count"]

    answer = ask(service, **body)

    assert problem_of(answer) == (status, slug), answer.text
    assert service.client.get("/pulls").json()["count"] == jobs


@pytest.mark.slow
def test_a_gated_repository_takes_a_token(start: Serve, hub: Hub, tmp_path: Path) -> None:
    """Without one, or with a wrong one, the answer says what it takes; with it, it never reaches another host."""
    hub.token = "hf_secret"
    hub.gated.add(REPOSITORY)
    (tmp_path / "token").write_text("hf_secret\n")

    for service in (start(), start(hub_token="hf_wrong")):
        refused = ask(service)
        assert problem_of(refused) == (502, "source-refused")
        assert "OCR_HUB_TOKEN" in refused.json()["detail"]
    service = start(hub_token_file=tmp_path / "token")
    assert pull(service)["state"] == "succeeded"

    assert {seen.headers["Authorization"] for seen in hub.asked("hub", "GET")} == {"Bearer hf_secret"}
    assert hub.asked("cdn")
    assert not any("Authorization" in seen.headers for seen in hub.seen if seen.server == "cdn")
    assert "hf_secret" not in service.log


@pytest.mark.slow
def test_the_token_of_this_machine_is_not_sent(start: Serve, hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the one in the settings."""
    monkeypatch.setenv("HF_TOKEN", "hf_somebodys")

    assert pull(start())["state"] == "succeeded"
    assert not any("Authorization" in seen.headers for seen in hub.seen)


def test_a_model_that_does_not_fit_is_refused(start: Serve, hub: Hub) -> None:
    """507 before a byte came, with what it takes and what there is."""
    hub.sizes[REPOSITORY, FILE] = 1 << 60
    service = start()

    refused = ask(service)

    assert (refused.status_code, refused.json()["need_bytes"]) == (507, 1 << 60)
    assert nothing_is_left(service)


@pytest.mark.slow
def test_a_model_that_is_there_stays_unless_told_otherwise(start: Serve, hub: Hub) -> None:
    """`fail` refuses, `keep` is content, `replace` puts the old one into the trash; not when it is the very same."""
    service = start()
    pull(service)
    asked = len(hub.asked("cdn"))

    refused = ask(service)
    assert problem_of(refused) == (409, "model-exists")
    for if_exists in ("keep", "replace"):
        assert pull(service, if_exists=if_exists)["result"]["models"][0]["outcome"] == "kept"
    assert len(hub.asked("cdn")) == asked

    hub.add(REPOSITORY, FILE, b"newer")
    assert pull(service, if_exists="replace")["result"]["models"][0]["outcome"] == "pulled"
    assert (service.models_dir / NAME).read_bytes() == b"newer"
    assert service.client.get("/trash").json()["count"] == 1


def test_asked_for_twice_it_is_one_job(start: Serve, hub: Hub) -> None:
    """Also through another service; what brings something else to the same place is refused."""
    hub.faults.append(Fault(wait_after=CUT))
    gate = hub.faults[0].gate
    first, second = start(), start()
    asked = ask(first)
    eventually(lambda: job_at(first, asked)["progress"]["done"] == CUT)

    again = ask(second)
    other = ask(second, if_exists="replace")
    gate.set()

    assert (again.status_code, again.headers["location"]) == (200, asked.headers["location"])
    assert (other.status_code, other.json()["job_id"]) == (409, asked.json()["id"])
    assert finished(second, asked)["state"] == "succeeded"
    assert len(hub.asked("cdn")) == 1


@pytest.mark.slow
def test_so_many_run_at_once_and_the_others_wait(start: Serve, hub: Hub) -> None:
    """In the order in which they were asked for."""
    faults = [Fault(wait_after=0) for _ in range(3)]
    hub.faults.extend(faults)
    for name in "abc":
        hub.add(REPOSITORY, f"{name}.bin", name.encode() * 1000)
    service = start(pulls_at_once=2)

    jobs = [ask(service, file=f"{name}.bin") for name in "abc"]
    eventually(lambda: len(hub.asked("cdn")) == 2)
    states = [job_at(service, job)["state"] for job in jobs]
    for fault in faults:
        fault.gate.set()

    assert states == ["running", "running", "queued"]
    assert [finished(service, job)["state"] for job in jobs] == ["succeeded"] * 3
    assert [job["id"] for job in service.client.get("/pulls").json()["jobs"]] == [j.json()["id"] for j in jobs[::-1]]


def test_another_service_reports_cancels_and_leaves_nothing(start: Serve, hub: Hub) -> None:
    """Whoever runs it."""
    hub.faults.append(Fault(wait_after=CUT))
    first, second = start(), start()
    asked = ask(first)
    running = eventually(lambda: job if (job := job_at(second, asked))["progress"]["done"] else None)

    cancelled = second.client.delete(asked.headers["location"])

    assert (running["phase"], running["progress"]["total"]) == ("downloading", len(CONTENT))
    assert (cancelled.status_code, cancelled.json()["state"]) == (202, "running")
    assert finished(second, asked)["state"] == "cancelled"
    eventually(lambda: nothing_is_left(first))
    assert second.client.delete(asked.headers["location"]).status_code == 200


def test_a_waiting_pull_is_cancelled_at_once(start: Serve, hub: Hub) -> None:
    """Nobody runs it, so nobody is waited for."""
    hub.faults.append(Fault(wait_after=0))
    hub.add(REPOSITORY, "b.bin", b"b")
    service = start(pulls_at_once=1)
    ask(service)
    waiting = ask(service, file="b.bin")

    cancelled = service.client.delete(waiting.headers["location"])

    assert (cancelled.status_code, cancelled.json()["state"]) == (200, "cancelled")


@pytest.mark.parametrize("number", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)])
def test_a_service_that_ended_is_gone_on_from_where_it_was(start: Serve, hub: Hub, number: int) -> None:
    """By the next start: from the bytes on the disk, which are hashed again."""
    hub.faults.append(Fault(wait_after=2 * CUT))
    before = start()
    asked = ask(before)
    eventually(lambda: job_at(before, asked)["progress"]["done"] == 2 * CUT)
    before.stop(number)
    assert len(left(before)) == 2

    after = start()

    job = finished(after, asked)
    assert job["state"] == "succeeded", job
    assert (after.models_dir / NAME).read_bytes() == CONTENT
    assert [seen.headers.get("Range") for seen in hub.asked("cdn")] == [None, f"bytes={2 * CUT}-"]
    assert left(after) == []
    assert job["owner"].endswith(f":{after.process.pid}")


def test_another_replica_adopts_what_a_dead_one_pulled(start: Serve, hub: Hub) -> None:
    """Without anybody asking for it."""
    hub.faults.append(Fault(wait_after=CUT))
    first, second = start(), start()
    asked = ask(first)
    eventually(lambda: job_at(second, asked)["progress"]["done"] == CUT)

    first.stop(signal.SIGKILL)

    job = finished(second, asked)
    assert job["state"] == "succeeded", job
    assert job["owner"].endswith(f":{second.process.pid}")
    assert (second.models_dir / NAME).read_bytes() == CONTENT


@pytest.mark.slow
def test_bytes_of_another_version_are_not_gone_on_with(start: Serve, hub: Hub) -> None:
    """When the repository has moved on while nobody ran."""
    hub.faults.append(Fault(wait_after=CUT))
    before = start()
    asked = ask(before)
    eventually(lambda: job_at(before, asked)["progress"]["done"] == CUT)
    before.stop(signal.SIGKILL)
    hub.add(REPOSITORY, FILE, CONTENT[::-1])

    after = start()

    assert finished(after, asked)["state"] == "succeeded"
    assert (after.models_dir / NAME).read_bytes() == CONTENT[::-1]
    assert [seen.headers.get("Range") for seen in hub.asked("cdn")] == [None, None]


def lines(service: RunningService, path: str) -> Iterator[dict[str, Any]]:
    """The records of a stream of JSON lines."""
    with service.client.stream("GET", path) as stream:
        assert stream.headers["content-type"] == "application/x-ndjson"
        for line in stream.iter_lines():
            if line:
                yield json.loads(line)


def events(service: RunningService, path: str) -> Iterator[dict[str, Any]]:
    """The records of a stream of server-sent events."""
    with service.client.stream("GET", path, headers={"accept": "text/event-stream"}) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        for line in stream.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))


@pytest.mark.parametrize("records", [lines, events])
def test_a_stream_ends_with_exactly_one_final_record(
    start: Serve, hub: Hub, records: Callable[[RunningService, str], Iterator[dict[str, Any]]]
) -> None:
    """From another service than the one that pulls, and again for whoever comes after the end."""
    hub.faults.append(Fault(wait_after=CUT))
    gate = hub.faults[0].gate
    first, second = start(), start()
    asked = ask(first)
    path = f"{asked.headers['location']}/events"

    seen = []
    for record in records(second, path):
        seen.append(record)
        if record["progress"]["done"] == CUT:
            gate.set()
    late = list(records(second, path))

    assert [record["final"] for record in seen] == [False] * (len(seen) - 1) + [True]
    assert len(seen) > 2
    assert late == seen[-1:]
    assert late[0]["state"] == "succeeded"
    assert late[0] | {"final": None} == job_at(first, asked) | {"final": None}


def test_a_stream_ends_when_its_service_does(start: Serve, hub: Hub) -> None:
    """At once and cleanly, without a final record: the job goes on elsewhere."""
    hub.faults.append(Fault(wait_after=CUT))
    service = start()
    stream = lines(service, f"{ask(service).headers['location']}/events")
    seen = [next(stream)]

    service.process.send_signal(signal.SIGTERM)
    seen += stream

    assert not any(record["final"] for record in seen)
    assert service.stop() == 0
    assert "timeout graceful shutdown exceeded" not in service.log


def test_a_url_is_pulled_only_from_where_it_may_be(start: Serve, hub: Hub) -> None:
    """Below an allowed URL, part by part; without any, from nowhere."""
    url = hub.put("/models/a.bin", b"model")
    hub.put("/models2/a.bin", b"model")
    none, some = start(), start(pull_allowed_urls=f"{hub.cdn_url}/models")

    refused = [ask_url(none, url)]
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
    refused += [ask_url(some, each) for each in elsewhere]
    job = finished(some, ask_url(some, url, name="plain/b.bin", sha256=hashlib.sha256(b"model").hexdigest().upper()))

    assert {problem_of(answer) for answer in refused} == {(403, "source-not-allowed")}
    assert "OCR_PULL_ALLOWED_URLS" in refused[0].json()["detail"]
    assert (job["state"], job["result"]["models"][0]["name"]) == ("succeeded", "plain/b.bin")
    assert {seen.path for seen in hub.seen} == {"/models/a.bin"}


def test_a_redirect_does_not_lead_out_of_what_is_allowed(start: Serve, hub: Hub) -> None:
    """Not at once, and not when the file is fetched; within it, it is followed."""
    target = hub.put("/models/a.bin", b"model")
    hub.redirects |= {
        "/models/out": f"{hub.url}/api/models/{REPOSITORY}",
        "/models/in": target,
        "/models/round": "/models/round",
        "/models/nowhere": "http://[",
    }
    service = start(pull_allowed_urls=f"{hub.cdn_url}/models/", pull_retries=0)

    out = ask_url(service, f"{hub.cdn_url}/models/out")
    within = finished(service, ask_url(service, f"{hub.cdn_url}/models/in", name="a.bin"))
    around = finished(service, ask_url(service, f"{hub.cdn_url}/models/round"))
    nowhere = ask_url(service, f"{hub.cdn_url}/models/nowhere")

    assert problem_of(out) == (403, "source-not-allowed")
    assert within["state"] == "succeeded"
    assert told(around) == ("failed", "source-unavailable")
    assert nowhere.status_code == 403
    assert hub.asked("hub") == []


def test_what_may_be_a_signature_is_shown_to_nobody(start: Serve, hub: Hub) -> None:
    """A URL's query is neither in the job nor in the log."""
    url = hub.put("/models/a.bin", b"model")
    service = start(pull_allowed_urls=hub.cdn_url)

    job = finished(service, ask_url(service, f"{url}?signature=secret", sha256="0" * 64))

    assert told(job) == ("failed", "digest-mismatch")
    assert job["request"]["url"] == url
    assert "secret" not in json.dumps(job) + service.log
    assert "signature=secret" in hub.asked("cdn")[-1].path


def test_a_job_is_not_found_once_it_was_never(start: Serve) -> None:
    """404, whatever is asked of it."""
    client = start().client

    for path in ("/pulls/nope", "/pulls/20261121T092012Z-0a1b23a56954", "/pulls/nope/events"):
        assert client.get(path).json()["type"].endswith(":job-not-found")
    assert client.delete("/pulls/nope").status_code == 404


def test_pulls_are_counted_and_logged(start: Serve, hub: Hub) -> None:
    """One line when it begins and one with what came of it."""
    service = start()
    pull(service)

    eventually(lambda: "pull.finished" in service.log)
    assert "pull.started" in service.log
    assert '"outcome": "succeeded"' in service.log
    metrics = service.client.get("/metrics").text
    assert 'ocr_pulls_total{outcome="succeeded"} 1.0' in metrics
    assert 'ocr_pulled_bytes_total{outcome="succeeded"} 3.145728e+06' in metrics
