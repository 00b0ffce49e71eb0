"""`POST /ocr` and `POST /ai/table` with the URL of an image, which the service downloads from a real HTTP server."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection
from typing import Any

import httpx
import pytest

from tests.support.clients.answers import problem_of
from tests.support.hub import Fault, Hub, running_hub
from tests.support.service import RunningService
from tests.support.waiting import eventually

ASYNC = {"prefer": "respond-async"}
PNG = {"content-type": "image/png"}
MAX_BYTES = 100_000


@pytest.fixture(scope="module")
def shared_hub() -> Iterator[Hub]:
    with running_hub() as running:
        yield running


@pytest.fixture
def hub(shared_hub: Hub) -> Hub:
    """A server that has an image at `/scans/fox.png`, from whose `/scans` the service may fetch."""
    shared_hub.forget()
    shared_hub.put("/scans/fox.png", b"read a fox")
    return shared_hub


@pytest.fixture(scope="module")
def running(
    shared_hub: Hub, tmp_path_factory: pytest.TempPathFactory, jobs_settings: dict[str, Any]
) -> Iterator[RunningService]:
    settings: dict[str, Any] = {
        "engine_class": "tests.support.engines:Reads",
        "pull_allowed_urls": f"{shared_hub.cdn_url}/scans",
        "hub_token": "hf_secret",
        "max_image_bytes": MAX_BYTES,
        "max_image_files": 5,
        "max_body_bytes": 20_000,
        "image_download_timeout": "10m",
        "pull_stall_timeout": "10m",
    }
    with RunningService(tmp_path_factory.mktemp("by-url"), **settings, **jobs_settings) as service:
        yield service.wait_for_queue().wait_until_ready()


@pytest.fixture
def service(running: RunningService) -> Iterator[RunningService]:
    """The service; afterwards no folder of an image is left."""
    yield running
    eventually(lambda: folders(running) == [], within=30)


def folders(service: RunningService) -> list[str]:
    """Return the folders of images in the state folder."""
    return [str(path) for path in service.state_dir.glob("engine-*/call-*")]


def ask(
    service: RunningService, path: str = "/ocr", headers: dict[str, str] | None = None, **body: Any
) -> httpx.Response:
    """Send a JSON body to a route."""
    return service.client.post(path, json=body, headers=headers, timeout=110)


def test_an_image_is_read_from_its_url(service: RunningService, hub: Hub) -> None:
    """The URL's bytes are read as those of a body are. No token, cookie or other secret of the service is sent."""
    hub.faults.extend([Fault(headers={"Set-Cookie": "who=caller1"}), Fault()])
    url = f"{hub.cdn_url}/scans/fox.png?signature=secret"

    answers = [ask(service, url=url), ask(service, url=url)]

    assert [answer.raise_for_status().json()["text"] for answer in answers] == ["a fox"] * 2
    assert ask(service, "/ai/table", url=url).raise_for_status().json()["pages"][0]["rows"] == [["a", "b"]]
    for seen in hub.asked("cdn"):
        assert seen.path == "/scans/fox.png?signature=secret"
        assert not {"authorization", "cookie"} & {name.lower() for name in seen.headers}
    assert "secret" not in service.log


def test_options_lie_beside_the_url(service: RunningService, hub: Hub) -> None:
    """Options in the JSON count as those of the query do, as text, numbers or truth values; null counts as absent."""
    url = hub.put("/scans/options", b"options")

    answer = ask(service, "/ocr?areas=lean", url=url, language="deu", auto_skew=True, pages=2, filters=None)

    options = json.loads(answer.raise_for_status().json()["text"])
    assert (options["language"], options["areas"], options["auto_skew"]) == ("deu", "lean", True)
    assert (options["pages"], options["filters"]) == ([{"first": 2, "last": 2}], [])
    assert ask(service, url=url, format="pdf").headers["content-type"] == "application/pdf"
    assert ask(service, url=url, headers={"accept": "text/csv"}).headers["content-type"].startswith("text/csv")


@pytest.mark.parametrize(("path", "status"), [("/ocr", 200), ("/ai/table", 200), ("/ocr/jobs", 202)])
def test_the_document_shows_json_that_works(service: RunningService, hub: Hub, path: str, status: int) -> None:
    """JSON is not a media type of the OpenAPI document, so its text has an example, which the service takes."""
    for name in ("1.png", "2.png"):
        hub.put(f"/scans/{name}", b"read a fox")
    example, for_pages = (
        service.client.get(document)
        .json()["paths"][path]["post"]["requestBody"]["description"]
        .partition("JSON such as `")[2]
        .partition("`")[0]
        for document in ("/openapi.json", "/docs/openapi.json")
    )
    assert example == for_pages
    assert json.loads(example)["language"] == "deu"

    body = example.replace("https://files.example", f"{hub.cdn_url}/scans")
    answer = service.client.post(path, content=body, headers={"content-type": "application/json"}, timeout=110)

    assert answer.status_code == status, answer.text
    if location := answer.headers.get("location"):  # the job downloads its images after the answer
        eventually(lambda: service.client.get(location).json()["state"] == "succeeded")


@pytest.mark.parametrize("path", ["/ocr", "/ai/table"])
@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("{}", None, "must have exactly one of these members: 'url', with one URL"),
        ('{"url": "http://a.example/", "urls": []}', None, "must have exactly one of these members"),
        ('{"url": 7}', "url", "a URL is text"),
        ('{"url": ""}', "url", "a URL is text"),
        (json.dumps({"url": "http://a.example/" + "a" * 3000}), "url", "2048 characters"),
        ('{"urls": "http://a.example/"}', "urls", "a list of URLs"),
        ('{"urls": []}', "urls", "a list of URLs"),
        ('{"urls": ["http://a.example/", "http://a.example/"]}', "urls", "Prefer: respond-async"),
        ('{"url": "http://a.example/", "url": "http://b.example/"}', "url", "more than once"),
        ('{"url": "http://a.example/", "langauge": "deu"}', "langauge", "did you mean 'language'?"),
        ('{"ulr": "http://a.example/", "url": "http://a.example/"}', "ulr", "did you mean 'url'?"),
        ('{"url": "http://a.example/", "pages": [1, 2]}', "pages", "must be text, a number, true or false"),
        ('{"url": "http://a.example/", "auto_skew": "perhaps"}', "auto_skew", "true or false"),
        ('{"url": "http://a.example/\\ud800"}', None, "must be text without lone surrogates"),
        ('["http://a.example/"]', None, "a JSON object is required"),
        ("\x89PNG", None, "announced as JSON and is not"),
        ("[" * 10_000, None, "nested too deeply"),
    ],
)
def test_a_wrong_body_is_refused(
    service: RunningService, hub: Hub, path: str, body: str, name: str | None, message: str
) -> None:
    """What is wrong in the JSON is named, and nothing is requested."""
    answer = service.client.post(path, content=body.encode("latin-1"), headers={"content-type": "application/json"})

    assert problem_of(answer) == (422, "invalid-request")
    (error,) = answer.json()["errors"]
    assert (error["where"], message in error["message"]) == (["body", name] if name else ["body"], True), error
    assert hub.seen == []


def test_a_json_body_is_bounded(service: RunningService) -> None:
    """A JSON body beyond OCR_MAX_BODY_BYTES is refused, whether its length is announced or not."""
    body = json.dumps({"url": "http://a.example/", "allowed_characters": "x" * 30_000}).encode()
    json_type = {"content-type": "application/json"}

    for content in (body, iter([body])):
        answer = service.client.post("/ocr", content=content, headers=json_type)
        assert problem_of(answer) == (413, "body-too-large")
        assert "OCR_MAX_BODY_BYTES" in answer.json()["detail"]


def test_wrong_options_are_refused_before_the_download(service: RunningService, hub: Hub) -> None:
    """Options that contradict each other, also between query and JSON, are refused before the source is asked."""
    url = f"{hub.cdn_url}/scans/fox.png"
    refused = [
        ask(service, url=url, mode="fast", language="deu"),
        ask(service, "/ocr?language=eng", url=url, language="deu"),
        ask(service, headers=ASYNC, url=url, correct=True),
    ]

    assert [problem_of(answer) for answer in refused] == [(422, "invalid-request")] * 3
    assert hub.seen == []


def test_only_allowed_urls_are_requested(service: RunningService, hub: Hub) -> None:
    """URLs beside the allowed ones, and redirects to these, are refused; nothing outside is requested."""
    hub.put("/scans2/fox.png", b"read a fox")
    hub.redirects |= {
        "/scans/out": f"{hub.url}/scans/fox.png",
        "/scans/beside": "/scans2/fox.png",
        "/scans/in": "/scans/fox.png",
        "/scans/round": "/scans/round",
    }
    host = hub.cdn_url.removeprefix("http://")
    elsewhere = (
        f"{hub.cdn_url}/scans2/fox.png",
        f"{hub.cdn_url}/scans/../scans2/fox.png",
        f"{hub.cdn_url}/scans/%252e%252e/scans2/fox.png",
        f"{hub.url}/scans/fox.png",
        f"http://user:password@{host}/scans/fox.png",
        f"https://{host}/scans/fox.png",
        "http://127.0.0.1:1/scans/fox.png",
        "http://169.254.169.254/latest/meta-data",
        "file:///etc/passwd",
        "data:image/png;base64,aGVsbG8=",
        "http://[",
        "fox.png",
    )

    refused = [ask(service, url=url) for url in elsewhere]
    redirected = [ask(service, url=f"{hub.cdn_url}/scans/{name}") for name in ("out", "beside")]

    assert {problem_of(answer) for answer in refused + redirected} == {(403, "source-not-allowed")}
    assert all("password" not in answer.text for answer in refused)
    assert ask(service, url=f"{hub.cdn_url}/scans/in").raise_for_status().json()["text"] == "a fox"
    assert problem_of(ask(service, url=f"{hub.cdn_url}/scans/round")) == (502, "source-unavailable")
    asked = {seen.path.removeprefix("/scans/") for seen in hub.seen}
    assert asked == {"out", "beside", "in", "round", "fox.png"}
    assert hub.asked("hub") == []


@pytest.mark.parametrize(
    ("fault", "status", "slug"),
    [
        (Fault(status=404), 404, "source-not-found"),
        (Fault(status=410), 404, "source-not-found"),
        (Fault(status=401), 502, "source-refused"),
        (Fault(status=403), 502, "source-refused"),
        (Fault(status=429), 502, "source-unavailable"),
        (Fault(status=500), 502, "source-unavailable"),
        (Fault(status=418), 502, "source-mismatch"),
        (Fault(status=204), 502, "source-mismatch"),
        (Fault(status=302), 502, "source-mismatch"),
        (Fault(headers={"Content-Encoding": "gzip"}), 502, "source-mismatch"),
        (Fault(cut_after=3), 502, "source-unavailable"),
        (Fault(content=bytes(MAX_BYTES + 1)), 413, "image-too-large"),
    ],
)
def test_a_source_that_does_not_send_the_image(
    service: RunningService, hub: Hub, fault: Fault, status: int, slug: str
) -> None:
    """Each refusal and failure of the source is a problem that names the URL without its query."""
    hub.faults.append(fault)

    answer = ask(service, url=f"{hub.cdn_url}/scans/fox.png?signature=secret")

    assert problem_of(answer) == (status, slug)
    assert "secret" not in answer.text
    assert slug == "image-too-large" or f"{hub.cdn_url}/scans/fox.png" in answer.json()["detail"]
    assert len(hub.seen) == 1


def test_others_are_served_while_a_source_is_slow(service: RunningService, hub: Hub) -> None:
    """A slow source holds neither the engine nor the event loop, and its image is read when it has arrived."""
    slow = Fault(wait_after=2)
    hub.faults.append(slow)
    with ThreadPoolExecutor(1) as callers:
        late = callers.submit(ask, service, url=f"{hub.cdn_url}/scans/fox.png")
        eventually(lambda: hub.seen, within=30)

        state = service.engine()
        answer = service.client.post("/ocr", content=b"read a hen", headers=PNG)
        was_late = not late.done()
        slow.gate.set()

    assert (state["busy"], state["waiting"]) == (False, 0)
    assert answer.raise_for_status().json()["text"] == "a hen"
    assert was_late
    assert late.result().raise_for_status().json()["text"] == "a fox"


def test_a_caller_that_disconnects_ends_the_download(service: RunningService, hub: Hub) -> None:
    """If the caller goes, the service closes its connection to the source and removes what has arrived."""
    hub.faults.append(Fault(wait_after=2))
    body = json.dumps({"url": f"{hub.cdn_url}/scans/fox.png"})
    caller = HTTPConnection("127.0.0.1", service.client.base_url.port or 0)

    caller.request("POST", "/ocr", body, {"content-type": "application/json"})
    eventually(lambda: hub.asked("cdn") and folders(service), within=30)
    caller.close()

    eventually(lambda: folders(service) == [], within=30)


def results_of(service: RunningService, accepted: httpx.Response) -> list[dict[str, Any]]:
    """Return the results of a job when it has ended."""
    location = accepted.raise_for_status().headers["location"]
    eventually(lambda: service.client.get(location).json()["state"] == "succeeded", within=30)
    return list(service.client.get(f"{location}/results").raise_for_status().json()["results"])


def test_a_job_reads_several_urls(service: RunningService, hub: Hub) -> None:
    """Each URL of a job has its own result, in order; its name is the URL without the query."""
    scans = f"{hub.cdn_url}/scans"
    hub.put("/scans/hen.png", b"read a hen")
    hub.put("/scans/large.png", bytes(MAX_BYTES + 1))
    names = ["fox.png", "gone.png", "hen.png", "large.png"]

    answer = ask(service, headers=ASYNC, urls=[f"{scans}/{name}?signature=secret" for name in names], language="deu")
    results = results_of(service, answer)

    assert (answer.status_code, answer.json()["request"]["files"]) == (202, 4)
    assert [result["name"] for result in results] == [f"{scans}/{name}" for name in names]
    texts = [result["recognition"] and result["recognition"]["text"] for result in results]
    assert texts == ["a fox", None, "a hen", None]
    slugs = [str(result["error"]["type"]).rpartition(":")[2] for result in results if result["error"]]
    assert slugs == ["source-not-found", "image-too-large"]
    assert results[0]["recognition"]["settings"]["language"] == "deu"
    shown = service.client.get(answer.headers["location"]).text + json.dumps(results) + service.log
    assert "secret" not in shown


@pytest.mark.parametrize(("path", "headers"), [("/ocr", ASYNC), ("/ocr/jobs", None)])
def test_urls_that_a_job_may_not_have(service: RunningService, path: str, headers: dict[str, str] | None) -> None:
    """If none of the URLs of a job is valid and allowed, or there are too many, no job is created."""
    before = service.client.get("/ocr/jobs").json()["count"]

    urls = (["http://127.0.0.1:1/a.png", "http://[::1/"], ["http://127.0.0.1:abc/a.png"], ["http:///a.png"])

    refused = [ask(service, path, headers, urls=each) for each in (*urls, ["http://127.0.0.1:1/a.png"] * 6)]

    assert [problem_of(answer) for answer in refused] == [
        *[(403, "source-not-allowed")] * 3,
        (422, "invalid-request"),
    ]
    assert service.client.get("/ocr/jobs").json()["count"] == before


def test_a_job_without_any_image_fails(service: RunningService, hub: Hub) -> None:
    """A job of which no URL can be fetched fails, and each of its files has its own problem."""
    urls = [f"{hub.cdn_url}/scans/gone.png", f"{hub.cdn_url}/scans/lost.png"]

    location = ask(service, "/ocr/jobs", None, urls=urls).raise_for_status().headers["location"]
    job = service.client.get(location, params={"wait": 60}).json()

    assert (job["state"], job["error"]["type"].rpartition(":")[2]) == ("failed", "source-not-found")
    results = service.client.get(f"{location}/results").json()["results"]
    assert [result["error"]["status"] for result in results] == [404, 404]
