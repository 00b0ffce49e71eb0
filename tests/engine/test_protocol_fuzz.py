"""Random and hostile bytes on the engine's socket: neither side hangs, loops or fails with an unexpected exception."""

import asyncio
import contextlib
import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.engine.contract.messages import Call, EngineFacts, ProtocolError, Reply
from app.engine.contract.processors import DEFAULT_MODEL, Processor
from app.engine.model_session import LoadRequest, ModelSession, SessionLimits
from app.engine.states import EngineState
from app.engine.text_runner import TextRunner, TextTask
from app.errors import EngineCallFailed, EngineDied, EngineError
from tests.support.defects import misbehaviour
from tests.support.service import ECHO, ROOT
from tests.support.supervised import QUICK, Supervised, supervised

HARMLESS = {"not a number", "a result deep in lists", "the answer twice", "a line as long as may be"}
"""The misbehaviours that are answered nevertheless."""
FORGIVING = replace(QUICK, restart_budget=10_000, max_delay_seconds=0.02)
FIRST_CALL = 3
"""The id of the first call to a ready process, after `start` and `status`."""
FATAL = [
    "lists without end",
    "half a surrogate pair",
    "an error of half a surrogate pair",
    "UTF-16",
    "a line a byte too long",
    "answers to nothing without end",
    "a signal without a name",
]
"""The cases that once passed the reader unnoticed, stopped the reader, or stopped the whole service."""

anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
GOOD_STATUS = {
    "vendor_package": "x",
    "vendor_version": "1",
    "is_licensed": False,
    "local_path": "/models",
    "list_local": ["a"],
    "resources_list_local": ["b"],
    "recognised": ["a"],
    "is_initialized": False,
    "capabilities": [{"name": "ai", "available": False, "reason": "no"}],
    "runtime": {"build": "vulkan", "gpus": ["a GPU"]},
}


@given(st.sampled_from(["id", "result", "error", "call", "params", "surplus"]) | st.text(max_size=5), anything)
def test_a_message_with_any_value_is_one_or_breaks_the_protocol(key: str, value: object) -> None:
    """A message with any value in a field raises ProtocolError, or is equal after being encoded and decoded again."""
    for kind, good in ((Reply, {"id": 1, "result": 1, "error": None}), (Call, {"id": 1, "call": "x", "params": {}})):
        line = json.dumps(good | {key: value}).encode()
        with contextlib.suppress(ProtocolError):
            message = kind.decode(line)
            assert repr(kind.decode(message.encode())) == repr(message)  # a NaN is not equal to itself


@given(st.text(alphabet=st.characters(), max_size=20))
def test_text_that_has_no_utf_8_never_arrives(text: str) -> None:
    """A reply with lone surrogates, which no HTTP answer could encode, arrives with `?` in their place."""
    line = Reply(1, [text], text).encode()

    assert Reply.decode(line).error == text.encode(errors="replace").decode()


@given(st.dictionaries(st.sampled_from(sorted(GOOD_STATUS)), anything, min_size=1, max_size=3))
def test_a_status_with_any_values_is_one_or_breaks_the_protocol(changes: dict[str, object]) -> None:
    """A status answer with any values raises ProtocolError, or gives facts of the declared types."""
    with contextlib.suppress(ProtocolError):
        facts = EngineFacts.from_status(datetime.now(UTC), GOOD_STATUS | changes)
        assert all(
            isinstance(name, str) for name in (*facts.list_local, *facts.resources_list_local, *facts.recognised)
        )


@pytest.mark.parametrize(
    "changes",
    [
        {"recognised": [["a"]]},
        {"list_local": [1]},
        {"resources_list_local": [1]},
        {"capabilities": [None]},
        {"capabilities": [{}]},
        {"capabilities": [{"name": "ai", "available": "yes", "reason": None}]},
        {"runtime": {"build": "vulkan", "gpus": [1]}},
    ],
)
def test_a_status_of_wrong_types_breaks_the_protocol(changes: dict[str, object]) -> None:
    """A status answer with a value of a wrong type raises ProtocolError."""
    with pytest.raises(ProtocolError):
        EngineFacts.from_status(datetime.now(UTC), GOOD_STATUS | changes)


def test_surplus_fields_are_no_harm() -> None:
    """Unknown fields in a status answer are ignored."""
    capability = {"name": "ai", "available": True, "reason": None, "since": 1}

    (read,) = EngineFacts.from_status(
        datetime.now(UTC), GOOD_STATUS | {"capabilities": [capability], "new": 1}
    ).capabilities

    assert (read.name, read.available) == ("ai", True)


@pytest.mark.parametrize("line", [b"[" * 100_000, b'{"id":' * 100_000, b"9" * 5000])
def test_a_bomb_breaks_the_protocol(line: bytes) -> None:
    """JSON nested too deeply, or with a number too long, raises ProtocolError."""
    for kind in (Reply, Call):
        with pytest.raises(ProtocolError):
            kind.decode(line)


@pytest.mark.anyio
async def test_an_engine_that_misbehaves_is_replaced(tmp_path: Path) -> None:
    """A call to an engine that breaks the protocol raises an error, and the next process answers."""
    async with supervised(tmp_path, "Misbehaves", limits=FORGIVING) as engine:
        for case in FATAL:
            assert not await survives(engine, case), case


@pytest.mark.slow
@pytest.mark.anyio
@pytest.mark.timeout(600)
async def test_every_misbehaviour(tmp_path: Path) -> None:
    """After each known misbehaviour and 40 random ones the engine is replaced; only four harmless ones are answered."""
    async with supervised(tmp_path, "Misbehaves", limits=FORGIVING) as engine:
        answered = {case for case in misbehaviour.CASES if await survives(engine, case)}
        for seed in range(40):
            await survives(engine, str(seed))

    assert answered == HARMLESS


async def survives(engine: Supervised, case: str) -> bool:
    """Return whether the engine's call ended with an answer; assert that the next process works in any case."""
    supervisor = await engine.until(EngineState.READY)
    pid = supervisor.pid
    try:
        async with asyncio.timeout(100):
            seconds = 60 if case in HARMLESS else 1  # the others may never answer
            await supervisor.call("misbehave", {"case": case, "call_id": FIRST_CALL}, seconds=seconds)
    except EngineError:
        answered = False
    else:
        answered = True
        await supervisor.release()
    await engine.until_replaced(pid)
    assert await supervisor.call("echo", {"text": case}, seconds=60) == case
    await supervisor.release()
    return answered


@pytest.mark.anyio
@pytest.mark.parametrize("changes", [{"capabilities": [1]}, {"recognised": [{}]}, {"local_path": "\0"}])
async def test_an_engine_with_a_wrong_status_never_becomes_ready(tmp_path: Path, changes: dict[str, object]) -> None:
    """An engine with a wrong status answer is failed after the restart budget; a good engine then becomes ready."""
    told = tmp_path / "models" / "status.option"
    told.parent.mkdir()
    told.write_text(json.dumps(changes))
    async with supervised(tmp_path, "Misbehaves", limits=replace(QUICK, restart_budget=1)) as engine:
        supervisor = await engine.until(EngineState.FAILED)
        assert supervisor.reason is not None
        told.unlink()
        await supervisor.release()
        await engine.until(EngineState.READY)


@pytest.mark.anyio
async def test_an_answer_that_is_no_text_is_never_passed_off_as_one(tmp_path: Path) -> None:
    """A JSON answer to a text that is not a string, such as null, makes the outcome EngineDied."""
    model = tmp_path / "models" / DEFAULT_MODEL
    model.parent.mkdir(parents=True)
    model.write_bytes(b"GGUF")
    async with supervised(tmp_path, "Misbehaves", limits=FORGIVING) as engine:
        supervisor = await engine.until(EngineState.READY)
        session = ModelSession(
            supervisor,
            models_dir=tmp_path / "models",
            hold=lambda *_: lambda: None,
            limits=SessionLimits(),
            on_event=lambda *_: None,
        )
        task = TextTask(LoadRequest(Processor.SPELL_CHECK, DEFAULT_MODEL, 4))

        outcomes = await TextRunner(supervisor, session, lambda *_: None).run(
            task, ["null", '{"text": 1}', '"good"'], seconds=60
        )

    assert [type(outcome.error) for outcome in outcomes] == [EngineDied, EngineDied, type(None)]
    assert outcomes[2].answer == "good"


@pytest.mark.anyio
async def test_what_json_cannot_say_is_an_error_and_not_a_death(tmp_path: Path) -> None:
    """A result that JSON cannot encode raises EngineCallFailed, and the process keeps running."""
    async with supervised(tmp_path, "Misbehaves") as engine:
        supervisor = await engine.until(EngineState.READY)

        with pytest.raises(EngineCallFailed, match="not JSON serializable"):
            await supervisor.call("return_an_object", seconds=60)
        assert await supervisor.call("echo", {"text": "x"}, seconds=60) == "x"


def test_a_worker_answers_or_ends_whatever_it_is_sent() -> None:
    """A worker process answers every call that it can parse, and ends at the first line that it cannot parse."""
    call = Call(1, "echo", {"text": "x"}).encode()
    sent = [
        b"nonsense\n",
        b"[" * 100_000 + b"\n",
        call + b"\xff\n",
        call + b"x" * 3_000_000,
        Call(1, "echo", {"texts": []}).encode()
        + Call(2, "models\ud800", {}).encode()
        + Call(3, "__class__", {}).encode(),
    ]

    assert answers_of_workers(sent) == [0, 0, 1, 1, 3]


@pytest.mark.slow
def test_workers_and_mutated_calls() -> None:
    """A worker process that is sent three randomly mutated calls gives at most three answers and ends."""
    chance = random.Random(4)  # noqa: S311 - to be the same each time
    calls = Call(1, "echo", {"text": "x"}).encode() * 3
    sent = []
    for _ in range(40):
        mutated = bytearray(calls)
        for _ in range(chance.randrange(1, 6)):
            mutated[chance.randrange(len(mutated))] = chance.randrange(256)
        sent.append(bytes(mutated))

    for start in range(0, len(sent), 4):
        assert all(count <= 3 for count in answers_of_workers(sent[start : start + 4]))


def answers_of_workers(sent: Iterable[bytes]) -> list[int]:
    """Send each item to a worker process of its own; return how many answers each gives before it ends."""
    with contextlib.ExitStack() as stack:
        workers = [stack.enter_context(contextlib.closing(Worker(each))) for each in sent]
        return [worker.answers() for worker in workers]


class Worker:
    """A real worker process that is sent some bytes, then the end of the stream."""

    def __init__(self, sent: bytes) -> None:
        self._ours, theirs = socket.socketpair()
        self._sent = sent
        with theirs:
            arguments = ["-P", "-m", "app.engine.child.worker", str(theirs.fileno()), str(os.getpid()), ECHO, "0"]
            self._process = subprocess.Popen(
                [sys.executable, *arguments],
                pass_fds=[theirs.fileno()],
                cwd=ROOT,
                env=os.environ | {"PYTHONPATH": str(ROOT)},
                stderr=subprocess.DEVNULL,
            )

    def answers(self) -> int:
        """Send the bytes, wait for the end of the process, and return the number of its answers."""
        self._ours.settimeout(20)
        with contextlib.suppress(ConnectionError):
            self._ours.sendall(self._sent)
            self._ours.shutdown(socket.SHUT_WR)
        lines = b""
        with contextlib.suppress(ConnectionError):
            while chunk := self._ours.recv(65_536):
                lines += chunk
        self._process.wait(timeout=120)
        return len([Reply.decode(line) for line in lines.splitlines()])

    def close(self) -> None:
        """Kill the process if it still runs."""
        self._ours.close()
        self._process.kill()
        self._process.wait()
