"""`GET /engine/capabilities` over HTTP: what the engine offers, what is missing, and what brings it."""

from pathlib import Path
from typing import Any

from app.engine.contract.processors import DEFAULT_MODEL
from app.engine.contract.reading_options import FilterName, ReadingKind
from tests.conftest import Serve
from tests.support.clients.answers import problem_of
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

CYRILLIC = "aspose-ocr-cyrillic-v1"


def capabilities(service: RunningService) -> dict[str, Any]:
    found: dict[str, Any] = service.client.get("/engine/capabilities").raise_for_status().json()
    return found


def named(service: RunningService, group: str, name: str) -> dict[str, Any]:
    """Return one entry of a group."""
    found: dict[str, Any] = next(each for each in capabilities(service)[group] if each["name"] == name)
    return found


def test_what_needs_a_model_names_it_and_the_call_that_brings_it(service: RunningService) -> None:
    """Without models English can be read, and Russian, tables, receipts and the spell check say what they need."""
    english, russian = named(service, "languages", "eng"), named(service, "languages", "rus")
    assert (english["available"], english["requires"], english["pulls"]) == (True, [], [])
    assert (english["english_name"], english["script"]) == ("English", "Latin")
    assert (russian["available"], russian["requires"]) == (False, [f"{CYRILLIC}.ocr"])
    assert russian["pulls"] == [{"resource": CYRILLIC}]
    assert (russian["english_name"], russian["script"]) == ("Russian", "Cyrillic")
    for group, name in (("areas", "table"), ("kinds", "receipt")):
        assert named(service, group, name)["pulls"] == [{"resource": "aspose-ocr-advanced-recognition-v1"}]
    assert named(service, "kinds", "passport")["available"]
    assert named(service, "filters", "grayscale")["available"]
    spell_check = named(service, "processors", "spell-check")
    assert (spell_check["available"], spell_check["requires"]) == (False, [DEFAULT_MODEL])
    table = named(service, "processors", "table")  # `POST /ai/table` reads tables without any model
    assert (table["available"], table["requires"], table["pulls"]) == (True, [], [])
    (pull,) = spell_check["pulls"]
    assert f"{pull['repository'].replace('/', '_')}/{pull['file']}" == DEFAULT_MODEL


def test_every_call_that_would_bring_a_model_is_a_valid_pull(service: RunningService) -> None:
    """`POST /pulls` takes each body that the answer offers; what stops it is that the test's service may not pull."""
    bodies = [
        body
        for group in ("languages", "areas", "kinds", "filters", "processors")
        for each in capabilities(service)[group]
        for body in each["pulls"]
    ]

    distinct = {tuple(sorted(body.items())) for body in bodies}
    assert len(distinct) > 10
    for body in distinct:
        answer = service.client.post("/pulls", json=dict(body) | {"if_exists": "no such value"})
        assert [error["where"] for error in answer.json()["errors"]] == [["body", "if_exists"]]


def test_a_model_that_arrives_makes_available_what_needs_it(service: RunningService) -> None:
    """After its OCR model is in the folder Russian is available, and European, which needs another one, is not."""
    service.client.put(f"/models/{CYRILLIC}.ocr", content=b"x").raise_for_status()

    assert eventually(lambda: named(service, "languages", "rus")["available"])
    assert not named(service, "languages", "european")["available"]
    service.client.delete(f"/models/{CYRILLIC}.ocr").raise_for_status()
    eventually(lambda: not named(service, "languages", "rus")["available"])


def test_it_lists_the_values_of_the_options_and_the_formats(service: RunningService) -> None:
    """The kinds, filters and formats are those that `POST /ocr` takes; the dictionaries have their languages' names."""
    found = capabilities(service)

    assert [each["name"] for each in found["kinds"]] == list(ReadingKind)
    assert [each["name"] for each in found["filters"]] == list(FilterName)

    assert {"name": "PDF", "media_type": "application/pdf"} in found["inputs"]
    assert {"name": "text", "media_type": "text/plain"} in found["outputs"]
    assert "docx" in {each["name"] for each in found["outputs"]}
    assert {"language": "deu", "english_name": "German"} in found["dictionaries"]
    assert found["vendor"]["package"] == "aspose-ocr-python-net"


def test_it_answers_while_the_engine_cannot_start(serve: Serve) -> None:
    """The answer needs no engine process: it is the same while the engine fails."""
    service = serve(engine_class="tests.support.engines:ExitsAtStart", engine_restart_budget=1)
    eventually(lambda: service.engine()["state"] == "failed")

    assert named(service, "languages", "rus")["requires"] == [f"{CYRILLIC}.ocr"]


def test_an_unknown_package_is_told_until_it_has_been_asked(serve: Serve, tmp_path: Path) -> None:
    """For a version of the package that nothing is known of the answer is 503, and says that it is being asked.

    It is the installed package with another version number. Without native libraries it cannot answer, so the test does
    not spend half a minute of CPU on the question.
    """
    site = tmp_path / "aspose_ocr_python_net-26.99.0.dist-info"
    site.mkdir()
    (site / "METADATA").write_text("Metadata-Version: 2.1\nName: aspose-ocr-python-net\nVersion: 26.99.0\n")
    service = serve(engine_class=ECHO, native_dir=tmp_path / "none", wrapper=("env", f"PYTHONPATH={tmp_path}"))

    answer = service.client.get("/engine/capabilities")

    assert problem_of(answer) == (503, "engine-unknown")
    assert "26.99.0" in answer.json()["detail"]
    eventually(lambda: "engine.wheel_unknown" in service.log, within=60)
    (service.models_dir / "aspose-ocr-hindi-v1.ocr").touch()
    (service.models_dir / "aspose-ocr-hindi-v2.ocr").touch()
    eventually(lambda: service.client.get("/models").json()["count"] == 2)
    assert service.client.get("/audit").json()["old_count"] == 0
