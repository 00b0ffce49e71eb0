"""Options of `POST /ocr` and `POST /ai/table` in the fields of a form, with an engine that reads any image."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest

from tests.support.clients.answers import problem_of
from tests.support.service import RunningService
from tests.support.waiting import eventually

FILE = ("file", ("a.png", b"read a fox", "image/png"))


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("form-options")
    with RunningService(folder, engine_class="tests.support.engines:Reads", recognition_timeout="60s") as running:
        yield running.wait_until_ready()


def option(name: str, value: str) -> tuple[str, tuple[None, str]]:
    """Return a field of a form as `curl -F name=value` sends it."""
    return name, (None, value)


def refused(answer: httpx.Response, name: str) -> str:
    """Return the message of an invalid option, which the problem names."""
    assert problem_of(answer) == (422, "invalid-request")
    (error,) = answer.json()["errors"]
    assert error["where"] == ["body", name]
    return str(error["message"])


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
def test_a_form_has_options_before_or_after_its_file(service: RunningService, order: tuple[int, ...]) -> None:
    """Options in the form count as options of the query do, wherever the file stands."""
    fields: list[Any] = [FILE, option("language", "deu"), option("auto_skew", "true")]

    answer = service.client.post("/ocr?areas=lean", files=[fields[each] for each in order])

    settings = answer.raise_for_status().json()["settings"]
    assert (settings["language"], settings["auto_skew"], settings["areas"]) == ("deu", True, "lean")


def test_a_job_has_the_options_of_its_form(service: RunningService) -> None:
    """The record of a job has the options of the form."""
    answer = service.client.post(
        "/ocr", files=[FILE, option("language", "deu"), FILE], headers={"prefer": "respond-async"}
    )

    asked = answer.raise_for_status().json()["request"]
    assert (asked["language"], asked["files"]) == ("deu", 2)


def by_httpx(service: RunningService, path: Path) -> None:
    service.client.post("/ocr/jobs", files={"file": (path.name, path.read_bytes())}).raise_for_status()


def by_curl(service: RunningService, path: Path) -> None:
    subprocess.run(["curl", "-fsS", "-F", f"file=@{path}", f"{service.url}/ocr/jobs"], check=True, capture_output=True)


def by_star(service: RunningService, path: Path) -> None:
    """Send only the name `filename*`, which RFC 7578 forbids in a form."""
    head = f"content-disposition: form-data; name=file; filename*=UTF-8''{quote(path.name)}"
    body = f"--b\r\n{head}\r\n\r\n".encode() + path.read_bytes() + b"\r\n--b--\r\n"
    headers = {"content-type": "multipart/form-data; boundary=b"}
    service.client.post("/ocr/jobs", content=body, headers=headers).raise_for_status()


NAME = "Größe 名前.png"


@pytest.mark.parametrize(("send", "name"), [(by_httpx, NAME), (by_curl, NAME), (by_star, None)])
def test_a_file_has_its_name_in_any_letters(
    service: RunningService, tmp_path: Path, send: Callable[[RunningService, Path], None], name: str | None
) -> None:
    """A result has the name that the form has as `filename` in UTF-8, as curl, httpx and browsers send it."""
    path = tmp_path / NAME
    path.write_bytes(b"read a fox")

    send(service, path)

    job = service.client.get("/ocr/jobs?limit=1").json()["jobs"][0]["id"]
    (result,) = eventually(lambda: service.client.get(f"/ocr/jobs/{job}/results").json()["results"])
    assert (result["name"], result["recognition"]["text"]) == (name, "a fox")


@pytest.mark.parametrize("path", ["/ocr", "/ai/table"])
@pytest.mark.parametrize(
    ("query", "fields", "name", "message"),
    [
        ("", [option("langauge", "deu")], "langauge", "did you mean 'language'? The image"),
        ("", [option("language", "deu"), option("language", "eng")], "language", "more than once"),
        ("language=eng", [option("language", "deu")], "language", "another value, 'eng'"),
        ("", [option("auto_skew", "perhaps")], "auto_skew", "true or false"),
    ],
)
def test_a_wrong_option_in_a_form_is_refused(
    service: RunningService, path: str, query: str, fields: list[Any], name: str, message: str
) -> None:
    """An option that is unknown, repeated, contradicted by the query or of a wrong value is named."""
    answer = service.client.post(f"{path}?{query}", files=[FILE, *fields])

    assert message in refused(answer, name)


def test_a_part_without_a_name_is_refused_as_such(service: RunningService) -> None:
    """A part that has an empty name is not called an unknown option without a name."""
    answer = service.client.post("/ocr", files=[FILE, option("", "deu")])

    assert problem_of(answer) == (422, "invalid-request")
    assert answer.json()["errors"] == [
        {"where": ["body"], "message": "a part has no name; an image belongs in a field 'file'"}
    ]


def test_the_same_value_in_both_places_is_accepted(service: RunningService) -> None:
    """An option in the query and the form has one value if both are the same."""
    answer = service.client.post("/ocr?language=deu", files=[FILE, option("language", "deu")])

    assert answer.raise_for_status().json()["settings"]["language"] == "deu"


def test_a_correction_that_a_form_asks_for_is_checked(service: RunningService) -> None:
    """`correct` in a form is refused where it is refused in the query."""
    answer = service.client.post("/ocr", files=[FILE, option("correct", "true")], headers={"prefer": "respond-async"})

    assert problem_of(answer) == (422, "invalid-request")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ([("image", FILE[1])], "a file in the field 'image'"),
        ([FILE, ("language", (None, b"\xff"))], "UTF-8"),
        ([FILE, ("language", (None, b"x" * 10_000))], "8192 bytes"),
        ([option("language", "deu")], "no file"),
    ],
)
def test_a_form_that_cannot_be_used(service: RunningService, fields: list[Any], message: str) -> None:
    """A file in another field, a value that is no text or too long, and a form without a file are refused."""
    answer = service.client.post("/ocr", files=fields)

    assert problem_of(answer) == (422, "unsupported-form")
    assert message in answer.json()["detail"]
