"""Damaged and hostile models, given to the real AsposeAI and the real llama.cpp."""

import os
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from tests.support.clients.answers import problem_of
from tests.support.files import hostile_gguf, tiny_gguf
from tests.support.service import RunningService
from tests.support.waiting import eventually

DOCUMENTED = {
    (422, "model-damaged"),
    (422, "engine-call-failed"),
    (422, "not-a-model"),
    (502, "engine-died"),
    (504, "engine-timed-out"),
    (507, "engine-out-of-memory"),
}
CLASSES = ("cut", "counts", "numbers", "tensors", "tokens", "template", "bits")


class Patient:
    """A service whose default model is replaced by damaged ones, and by the good one to see that it recovers."""

    def __init__(self, service: RunningService) -> None:
        self.service = service
        self.path = service.models_dir / DEFAULT_MODEL
        tiny_gguf.write(self.path)
        self.good = self.path.read_bytes()

    def give(self, content: bytes) -> None:
        """Replace the model's file by a rename, as an upload does; a process that has mapped the old file keeps it."""
        aside = self.path.with_suffix(".part")
        aside.write_bytes(content)
        aside.replace(self.path)

    def load(self) -> httpx.Response:
        return self.service.client.post("/engine/load", json={"processor": "spell-check"})

    def correct(self, seconds: float = 100) -> httpx.Response:
        return self.service.client.post("/ai/spell-check", json={"texts": ["the quik"], "timeout_seconds": seconds})

    def outcome_of(self, content: bytes) -> str:
        """Load a model and use it; return the outcome, and assert that a problem is a documented one."""
        self.give(content)
        answer = self.load()
        done = "loading: "
        if answer.status_code == 200:
            answer, done = self.correct(seconds=1), "a text: "
        if answer.status_code == 200:
            return "answered"
        problem = answer.json()
        slug = problem["type"].rpartition(":")[2]
        assert (answer.status_code, slug) in DOCUMENTED, answer.text
        return done + str(problem.get("exit_reason", slug))

    def recovers(self) -> None:
        """Assert that the good model works, and that no other process or mapping is left."""
        self.service.wait_until_ready()
        self.service.client.post("/engine/release").raise_for_status()
        self.service.wait_until_ready()
        self.give(self.good)
        corrected = self.correct().raise_for_status().json()
        assert corrected["results"][0]["text"] == tiny_gguf.ANSWER
        (engine,) = psutil.Process(self.service.process.pid).children(recursive=True)
        assert engine.pid == self.service.engine()["pid"]
        assert len([each.path for each in engine.memory_maps() if each.path.startswith(str(self.path))]) == 1
        self.service.client.post("/engine/release").raise_for_status()
        eventually(lambda: not self.service.client.get("/models").json()["models"][0]["in_use"])


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    limits: dict[str, Any] = {
        "engine_restart_budget": 1000,
        "engine_stable_after": "0.01s",
        "engine_load_timeout": "60s",
    }
    with RunningService(tmp_path_factory.mktemp("hostile"), **limits) as service:
        yield service


@pytest.fixture
def patient(running: RunningService) -> Patient:
    return Patient(running.wait_until_ready())


def test_a_damaged_model_never_reaches_the_engine(patient: Patient) -> None:
    """A model damaged according to its header answers 422 with the reason, and the engine process is not touched."""
    pid = patient.service.engine()["pid"]
    patient.give(patient.good[:-1])

    refused = patient.load()

    assert problem_of(refused) == (422, "model-damaged")
    assert "the header describes a file of" in refused.json()["reason"]
    assert patient.correct().json()["type"] == refused.json()["type"]
    assert patient.service.engine()["pid"] == pid


def test_a_model_that_kills_the_engine(patient: Patient) -> None:
    """A model that kills the engine process answers with the signal, and the next good model works."""
    model = hostile_gguf.Model.read(patient.path)

    outcome = patient.outcome_of(hostile_gguf.corpus(model)["tokens"]["none"])

    assert outcome == "loading: killed by SIGSEGV"
    patient.recovers()


def test_a_loaded_model_that_is_cut_off(patient: Patient) -> None:
    """Truncating a loaded model's file kills the process by SIGBUS; the call answers 502, and the service recovers."""
    patient.load().raise_for_status()
    os.truncate(patient.path, 4096)

    died = patient.correct()

    assert (died.status_code, died.json()["exit_reason"]) == (502, "killed by SIGBUS")
    patient.recovers()


@pytest.mark.slow
def test_a_model_that_is_cut_off_during_a_call(patient: Patient) -> None:
    """Truncating a model's file during a call kills the process by SIGBUS, and the call answers with that signal."""
    tiny_gguf.write(patient.path, endless=True)
    patient.load().raise_for_status()
    with ThreadPoolExecutor(1) as threads:
        call = threads.submit(patient.correct)
        eventually(lambda: patient.service.engine()["busy"])
        os.truncate(patient.path, 4096)

        assert call.result().json()["exit_reason"] == "killed by SIGBUS"
    patient.recovers()


@pytest.mark.slow
def test_what_is_no_file_of_any_model(patient: Patient) -> None:
    """A folder, a dangling link and a 4 GB file of zeros in place of the model each answer a documented problem."""
    patient.path.unlink()
    patient.path.mkdir()
    assert refusal(patient) == "not-a-model"
    patient.path.rmdir()
    patient.path.symlink_to("nowhere")
    assert refusal(patient) == "not-a-model"
    patient.path.unlink()
    with patient.path.open("wb") as file:
        file.truncate(4 << 30)
    assert refusal(patient) == "engine-call-failed"
    patient.recovers()


def refusal(patient: Patient) -> str:
    answer = patient.load()
    assert answer.status_code == 422
    return str(answer.json()["type"]).rpartition(":")[2]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", CLASSES)
def test_hostile_headers(patient: Patient, kind: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A model with a hostile header answers a documented problem or a result, and the good model works afterwards."""
    outcomes: Counter[str] = Counter()
    for name, content in hostile_gguf.corpus(hostile_gguf.Model.read(patient.path))[kind].items():
        outcomes[patient.outcome_of(content)] += 1
        assert patient.service.process.poll() is None, name
        patient.service.wait_until_ready()
        if patient.service.engine()["loaded"]:
            patient.service.client.post("/engine/release").raise_for_status()
            patient.service.wait_until_ready()

    patient.recovers()
    with capsys.disabled():
        print(f"\n{kind}: {dict(outcomes.most_common())}")


def test_the_corpus_begins_with_a_good_model(tmp_path: Path) -> None:
    """Reading and writing the good model gives equal bytes, so each hostile model differs only where intended."""
    path = tiny_gguf.write(tmp_path / "x.gguf")

    assert hostile_gguf.Model.read(path).file() == path.read_bytes()
    assert tuple(hostile_gguf.corpus(hostile_gguf.Model.read(path))) == CLASSES
