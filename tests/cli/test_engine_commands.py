"""The commands on a service's engine, on recognition, and on jobs that a service runs."""

import json
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_backends import through
from tests.cli.test_models import run
from tests.support.fork_server import run_command
from tests.support.service import RunningService
from tests.support.waiting import eventually

READS = "tests.support.engines:Reads"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service whose engine answers with what it was asked."""
    with RunningService(tmp_path_factory.mktemp("reader"), engine_class=READS, recognition_timeout="60s") as running:
        yield running.wait_until_ready()


def test_the_engine_is_shown_and_released(service: RunningService) -> None:
    """`engine show` and `engine release` print what the service answers; `resources` lists the OCR models."""
    shown = json.loads(through(service, "engine", "show", "--json").stdout)
    released = through(service, "engine", "release", "--json")
    service.wait_until_ready()

    assert (shown["state"], shown["pid"]) == ("ready", json.loads(released.stdout)["pid"])
    assert "state " in through(service, "engine", "show").stdout
    refused = through(service, "engine", "load", "spell-check")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "models pull" in refused.stderr
    assert "aspose-ocr-cyrillic-v1" in through(service, "resources").stdout


def test_files_are_recognised(reader: RunningService, tmp_path: Path) -> None:
    """`ocr` prints the text or the JSON of files with the given options, and writes to the file that --output names."""
    page = tmp_path / "page.png"
    page.write_bytes(b"options")
    (tmp_path / "password").write_text("s\u00e4cret\n")

    text = through(reader, "ocr", str(page), "--language", "deu", "--pages", "1-3", "--option", "areas=lean")
    answer = json.loads(through(reader, "ocr", str(page), "--json").stdout)
    to_file = through(reader, "ocr", str(page), str(page), "--output", str(tmp_path / "out.txt"))

    asked = json.loads(text.stdout)
    assert (text.returncode, asked["language"], asked["areas"]) == (0, "deu", "lean")
    assert asked["pages"] == [{"first": 1, "last": 3}]
    assert answer["settings"]["language"] == "latin"
    assert (to_file.returncode, to_file.stdout) == (0, "")
    assert len((tmp_path / "out.txt").read_text().split("\f")) == 2


def test_what_ocr_refuses_is_told_in_the_words_of_the_command(reader: RunningService, tmp_path: Path) -> None:
    """A wrong option, a missing file and a document without --output are refused in the words of the command line."""
    page = tmp_path / "page.png"
    page.write_bytes(b"options")

    wrong = through(reader, "ocr", str(page), "--option", "areas=nonsense")
    missing = through(reader, "ocr", str(tmp_path / "nope.png"))
    several = through(reader, "ocr", str(page), str(page), "--format", "pdf")

    assert (wrong.returncode, wrong.stderr.startswith("areas: ")) == (1, True)
    assert (missing.returncode, several.returncode) == (2, 2)
    assert "--output" in several.stderr


def test_jobs_are_the_same_in_the_folder_and_through_the_service(reader: RunningService) -> None:
    """`jobs list`, `show` and `cancel` find a job by a part of its id, on the folder and through the service."""
    job = reader.client.post("/ocr", content=b"options", headers={"prefer": "respond-async"}).json()
    eventually(lambda: reader.client.get(f"/ocr/jobs/{job['id']}").json()["state"] == "succeeded", within=60)
    part = job["id"].rpartition("-")[2][:6]

    for arguments in (
        ("jobs", "list", "--json"),
        ("jobs", "list"),
        ("jobs", "show", part),
        ("jobs", "show", job["id"], "--json"),
        ("jobs", "cancel", part),
        ("pulls", "show", part),
    ):
        here, there = run(reader.models_dir, *arguments), through(reader, *arguments)
        assert (here.returncode, here.stdout, here.stderr) == (there.returncode, there.stdout, there.stderr), arguments
        assert (here.returncode == 0) == (arguments[0] == "jobs"), here.stderr


def test_commands_for_the_engine_ask_the_service_of_the_settings() -> None:
    """Without --url, the commands that need a service name the one at OCR_PORT."""
    away = run_command(["engine", "show"], os.environ | {"OCR_PORT": "1"})

    assert (away.returncode, "http://127.0.0.1:1" in away.stderr) == (1, True)
