"""The whole service with the real AsposeAI, the real llama.cpp and a real model of 4 MB."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.files import tiny_gguf
from tests.support.service import RunningService
from tests.support.waiting import eventually


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    with RunningService(tmp_path_factory.mktemp("real")) as service:
        yield service


@pytest.fixture
def service(running: RunningService) -> RunningService:
    """The service with its model in the folder and no model loaded."""
    model = running.models_dir / DEFAULT_MODEL
    running.wait_until_ready()
    if not model.exists():
        tiny_gguf.write(model)
    if running.engine()["loaded"]:
        running.client.post("/engine/release").raise_for_status()
        running.wait_until_ready()
    return running


def correct(service: RunningService, *texts: str) -> httpx.Response:
    return service.client.post("/ai/spell-check", json={"texts": texts})


def test_native_libraries_are_provisioned(service: RunningService) -> None:
    """The native libraries are there (`make test` fetches them); the other tests of this module need them."""
    assert {each["name"]: each["reason"] for each in service.engine()["capabilities"]}["ai"] is None


def test_load_correct_and_release(service: RunningService) -> None:
    """A loaded model corrects texts and cannot be deleted (409); after a release no process has it mapped or open."""
    loaded = service.client.post("/engine/load", json={"processor": "spell-check"}).raise_for_status().json()
    assert loaded["model"] == DEFAULT_MODEL
    assert loaded["mapped_bytes"] > 3_000_000
    pid = service.engine()["pid"]
    assert correct(service, "the quik fox", "two\nlines").json()["results"] == [
        {"text": tiny_gguf.ANSWER, "diff": None, "uncorrected_lines": [], "error": None},
        {"text": f"{tiny_gguf.ANSWER}\n{tiny_gguf.ANSWER}", "diff": None, "uncorrected_lines": [], "error": None},
    ]
    eventually(lambda: service.engine()["is_initialized"])
    eventually(lambda: service.client.get("/models").json()["models"][0]["in_use"])

    refused = service.client.delete(f"/models/{DEFAULT_MODEL}")
    assert refused.status_code == 409
    (blocker,) = refused.json()["blockers"]
    assert (blocker["kind"], blocker["holder"], blocker["pid"]) == ("engine", "spell-check", pid)

    released = service.client.post("/engine/release").raise_for_status().json()
    assert released["mapped_bytes_before"] >= loaded["mapped_bytes"]
    assert released["private_bytes_before"] > 60_000_000
    assert 0 < released["tree_bytes_after"] < 150_000_000
    assert not psutil.pid_exists(pid)
    assert holders(service.models_dir / DEFAULT_MODEL) == []
    eventually(lambda: not service.client.get("/models").json()["models"][0]["in_use"])


@pytest.mark.parametrize(
    ("text", "after", "kept"),
    [
        ("漢字", "漢字", [1]),
        ("€\n", "€\n", [1]),
        ("one\nहिन्दी\n\n\nไทย\ntwo 漢\n", "fixed\nहिन्दी\n\n\nไทย\nfixed\n", [2, 5]),
        ("a\r\n漢", "fixed\n漢", [2]),
        ("漢字ab", "fixed", []),
        ("\u2028漢\x85", "\u2028漢\x85", [1]),
        ("😀", "fixed", []),
    ],
)
def test_lines_that_the_vendor_cannot_take_are_kept(
    service: RunningService, text: str, after: str, kept: list[int]
) -> None:
    """A line that AsposeAI's spell check cannot take is kept and named; the other lines of the text are corrected."""
    (result,) = correct(service, text).raise_for_status().json()["results"]

    assert result == {"text": after, "diff": None, "uncorrected_lines": kept, "error": None}


def test_a_loaded_model_is_deleted_after_a_release(service: RunningService) -> None:
    """DELETE with `release=true` ends the engine's use, deletes the model and frees its bytes before it answers."""
    tiny_gguf.write(service.models_dir / DEFAULT_MODEL, size_bytes=64 << 20)
    service.client.post("/engine/load", json={"processor": "spell-check"}).raise_for_status()
    path, query = f"/models/{DEFAULT_MODEL}", {"permanent": "true", "release": "true"}
    pid = service.engine()["pid"]

    held = service.client.delete(path, params=query | {"dry_run": "true"})
    assert held.status_code == 409
    assert service.engine()["pid"] == pid
    receipt = service.client.delete(path, params=query).raise_for_status().json()

    assert receipt["freed_bytes"] >= 60 << 20
    assert holders(service.models_dir / DEFAULT_MODEL) + holders(service.models_dir / ".store" / "trash") == []
    assert not (service.models_dir / DEFAULT_MODEL).exists()
    assert not psutil.pid_exists(pid)


@pytest.mark.slow
def test_keywords_and_questions(service: RunningService) -> None:
    """Keywords and questions are answered, each by a process of its own, and only one engine process runs at a time."""
    for path, body in (("keywords", {"keywords": ["total"]}), ("query", {"question": "How much?"})):
        answer = service.client.post(f"/ai/{path}", json={"texts": ["Total 3", "Total 4"]} | body)
        assert [result["text"] for result in answer.raise_for_status().json()["results"]] == [tiny_gguf.ANSWER] * 2
        assert service.engine()["loaded"]["processor"] == path
        children = psutil.Process(service.process.pid).children()
        assert [child.pid for child in children] == [service.engine()["pid"]]


@pytest.mark.slow
def test_a_caller_that_hangs_up_during_a_native_call(service: RunningService) -> None:
    """A caller that disconnects during a native call ends the engine process within a second."""
    tiny_gguf.write(service.models_dir / DEFAULT_MODEL, endless=True)
    try:
        service.client.post("/engine/load", json={"processor": "spell-check"}).raise_for_status()
        pid = service.engine()["pid"]
        with pytest.raises(httpx.ReadTimeout):
            service.client.post("/ai/spell-check", json={"texts": ["x"] * 20}, timeout=0.5)

        eventually(lambda: not psutil.pid_exists(pid), within=60)
        service.wait_until_ready()
    finally:
        (service.models_dir / DEFAULT_MODEL).unlink()


def holders(path: Path) -> list[str]:
    """Return the id of each process that has a file mapped or open."""
    wanted, found = str(path.resolve()), []
    for process in psutil.process_iter():
        try:
            paths = [each.path for each in process.memory_maps()] + [each.path for each in process.open_files()]
        except psutil.Error:
            continue
        found += [f"{process.pid}" for each in paths if each.startswith(wanted)]
    return found
