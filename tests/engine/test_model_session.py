"""Loading, leases and the work on texts, with real engine processes."""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from app.engine.contract.processors import DEFAULT_MODEL, Processor
from app.engine.model_session import LoadRequest, ModelSession, SessionLimits
from app.engine.states import MAX_DEATHS_OF_ONE_REQUEST, EngineState, Release, SupervisorLimits
from app.engine.text_runner import TextOutcome, TextRunner, TextTask
from app.errors import EngineCallFailed, EngineDied, EngineTimedOut, ModelLocked, ModelTooLarge, StoreUnavailable
from app.events import EventName
from tests.support.supervised import QUICK, Supervised, supervised
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

SPELLING = LoadRequest(Processor.SPELL_CHECK, DEFAULT_MODEL, 4)
QUERY = LoadRequest(Processor.QUERY, DEFAULT_MODEL, 4)


class Leases:
    """Takes leases, and counts by model how many are held."""

    def __init__(self) -> None:
        self.held: Counter[str] = Counter()
        self.before: Callable[[str], None] = lambda _: None
        """Called with the model's name before each lease is taken; may raise or wait."""
        self.check_folder: Callable[[], None] = lambda: None
        """Raises StoreUnavailable while the folder is away."""

    def check(self) -> None:
        self.check_folder()

    def hold(self, name: str, use: str, pid: int) -> Callable[[], None]:
        self.before(name)
        self.held[name] += 1
        return lambda: self.held.subtract([name])


class Worked:
    """A session under test, with its engine and its leases."""

    def __init__(self, engine: Supervised, session: ModelSession, texts: TextRunner, leases: Leases) -> None:
        self.engine = engine
        self.session = session
        self.texts = texts
        self.leases = leases

    async def run(self, *texts: str, wanted: LoadRequest = SPELLING, seconds: float = 10) -> list[TextOutcome]:
        return await self.texts.run(TextTask(wanted), list(texts), seconds=seconds)


@asynccontextmanager
async def working(
    folder: Path, *, content: bytes = b"GGUF", of_engine: SupervisorLimits = QUICK, **limits: Any
) -> AsyncIterator[Worked]:
    model = folder / "models" / DEFAULT_MODEL
    model.parent.mkdir(parents=True)
    model.write_bytes(content)
    (folder / "models" / "other.gguf").touch()
    leases = Leases()
    async with supervised(folder, limits=of_engine) as running:
        supervisor = await running.until(EngineState.READY)

        def on_event(event: EventName, fields: dict[str, Any]) -> None:
            running.events.append((event, fields))

        session = ModelSession(
            supervisor,
            models_dir=(folder / "models").resolve(),
            hold=leases.hold,
            check_folder=leases.check,
            limits=SessionLimits(**limits),
            on_event=on_event,
        )
        yield Worked(running, session, TextRunner(supervisor, session, on_event), leases)


async def test_the_first_use_loads_and_holds_the_model(tmp_path: Path) -> None:
    """The first use loads the model and holds one lease on it until its process ends."""
    async with working(tmp_path) as worked:
        outcomes = await worked.run("a", "b")

        assert outcomes == [TextOutcome("A", None), TextOutcome("B", None)]
        assert worked.session.loaded is not None
        assert (worked.session.loaded.processor, worked.session.loaded.model) == ("spell-check", DEFAULT_MODEL)
        assert worked.session.is_using(DEFAULT_MODEL)
        assert +worked.leases.held == {DEFAULT_MODEL: 1}

        await worked.engine.supervisor.release()

        assert worked.session.loaded is None
        assert not +worked.leases.held


async def test_what_is_loaded_is_not_loaded_again(tmp_path: Path) -> None:
    """Loading a model that is loaded returns at once, and using it does not load it again."""
    async with working(tmp_path) as worked:
        loaded = await worked.session.load(SPELLING)
        await worked.run("a")

        assert await worked.session.load(SPELLING) is loaded
        assert [event for event, _ in worked.engine.events].count("engine.loaded") == 1


async def test_another_processor_takes_another_process(tmp_path: Path) -> None:
    """Using another processor replaces the process, because a second load would map the model twice."""
    async with working(tmp_path) as worked:
        await worked.run("a")
        pid = worked.engine.supervisor.pid

        assert await worked.run("a", wanted=QUERY) == [TextOutcome("A", None)]

        assert worked.engine.supervisor.pid != pid
        assert +worked.leases.held == {DEFAULT_MODEL: 1}


async def test_a_load_that_fails_leaves_nothing(tmp_path: Path) -> None:
    """A failed load raises EngineCallFailed, releases the leases and replaces the process."""
    async with working(tmp_path, content=b"") as worked:
        pid = worked.engine.supervisor.pid

        with pytest.raises(EngineCallFailed, match="Failed to load model"):
            await worked.session.load(SPELLING)

        assert not +worked.leases.held
        assert not worked.session.is_using(DEFAULT_MODEL)
        await worked.engine.until_replaced(pid)


async def test_a_locked_model_is_not_loaded(tmp_path: Path) -> None:
    """A load raises ModelLocked if one model is locked, and releases the leases taken before."""
    async with working(tmp_path) as worked:

        def refuse(name: str) -> None:
            if name == "other.gguf":
                raise ModelLocked(name)

        worked.leases.before = refuse
        with pytest.raises(ModelLocked):
            await worked.session.load(SPELLING)

        assert not +worked.leases.held


async def test_a_load_that_is_abandoned_while_it_waits_for_a_lease_leaves_none(tmp_path: Path) -> None:
    """A cancelled load releases the lease that its thread takes after the cancellation."""
    async with working(tmp_path) as worked:
        is_waiting, go_on = threading.Event(), threading.Event()

        def wait(_: str) -> None:
            is_waiting.set()
            go_on.wait(10)

        worked.leases.before = wait
        loading = asyncio.create_task(worked.session.load(SPELLING))
        await eventually_async(is_waiting.is_set)
        loading.cancel()
        await asyncio.sleep(0)
        go_on.set()
        await asyncio.wait({loading})

        assert not +worked.leases.held


async def test_a_release_waits_for_what_runs_and_not_for_what_waits(tmp_path: Path) -> None:
    """A release waits for the running work only; waiting work runs on the next process."""
    limits = replace(QUICK, stop_seconds=200)
    async with working(tmp_path, of_engine=limits) as worked:
        await worked.run("a")
        held = f"wait_for:{tmp_path / 'gate'}"
        running = asyncio.create_task(worked.run(held))
        await eventually_async(lambda: worked.engine.supervisor.is_busy)
        waiting = asyncio.create_task(worked.run("b"))
        await eventually_async(lambda: worked.engine.supervisor.waiting == 1)

        releasing = asyncio.create_task(worked.engine.supervisor.release())
        await asyncio.sleep(0.5)
        assert not releasing.done()
        (tmp_path / "gate").touch()
        release = await releasing

        assert release.seconds < limits.stop_seconds / 2
        assert [*await running, *await waiting] == [TextOutcome(held, None), TextOutcome("B", None)]


async def test_one_bad_text_does_not_spoil_the_others(tmp_path: Path) -> None:
    """A text that is refused, kills the engine or misses its deadline has its own error; the others have answers."""
    async with working(tmp_path) as worked:
        outcomes = await worked.run("a", "fail:too odd", "b", "abort:", "c", "hold_gil:60", "d", seconds=3)

    assert [outcome.answer for outcome in outcomes] == ["A", None, "B", None, "C", None, "D"]
    errors = [type(outcome.error) for outcome in outcomes if outcome.error]
    assert errors == [EngineCallFailed, EngineDied, EngineTimedOut]


async def test_a_request_cannot_kill_one_engine_after_another(tmp_path: Path) -> None:
    """After MAX_DEATHS_OF_ONE_REQUEST deaths the remaining texts of a request are not tried."""
    async with working(tmp_path) as worked:
        restarts = worked.engine.supervisor.restarts

        outcomes = await worked.run("a", *["abort:"] * MAX_DEATHS_OF_ONE_REQUEST, "b")

        assert [outcome.answer for outcome in outcomes] == ["A", None, None, None, None]
        supervisor = worked.engine.supervisor
        await eventually_async(
            lambda: supervisor.is_ready and supervisor.restarts - restarts == MAX_DEATHS_OF_ONE_REQUEST
        )


async def test_a_release_ends_the_work(tmp_path: Path) -> None:
    """A release during a text ends the work: the remaining texts have errors, and the model is not loaded again."""
    async with working(tmp_path) as worked:
        releases: list[asyncio.Task[Release]] = []

        def on_outcome(outcome: TextOutcome) -> None:
            if outcome.answer == "A":
                releases.append(asyncio.create_task(worked.engine.supervisor.release()))

        texts = ["a", "sleep:60", "b"]
        outcomes = await worked.texts.run(TextTask(SPELLING), texts, seconds=60, on_outcome=on_outcome)

        assert [outcome.answer for outcome in outcomes] == ["A", None, None]
        await releases[0]
        await worked.engine.until(EngineState.READY)
        assert worked.session.loaded is None


async def test_a_folder_that_is_away_ends_no_engine(tmp_path: Path) -> None:
    """While the model folder is away, texts have the error at once; then the engine process works on."""
    async with working(tmp_path) as worked:
        absences, pid = iter(range(1)), worked.engine.supervisor.pid

        def check() -> None:
            if next(absences, None) is not None:
                raise StoreUnavailable("it is away")

        worked.leases.check_folder = check
        with pytest.raises(StoreUnavailable):
            await worked.run("a")
        place = worked.texts.place_for_unit()
        outcomes = await worked.texts.run(TextTask(SPELLING), ["a"], seconds=10, place=place)

        assert outcomes == [TextOutcome("A", None)]
        assert worked.engine.supervisor.pid == pid


async def test_a_process_that_grew_is_replaced(tmp_path: Path) -> None:
    """A process that holds more memory than the limit is replaced after each text, and every text has an answer."""
    async with working(tmp_path, memory_bytes=1000) as worked:
        assert await worked.run("a", "b") == [TextOutcome("A", None), TextOutcome("B", None)]

        recycled = [fields for event, fields in worked.engine.events if event == "engine.recycled"]
        assert len({fields["pid"] for fields in recycled}) == 2
        assert all("OCR_ENGINE_MEMORY_LIMIT" in fields["reason"] for fields in recycled)


async def test_a_model_that_cannot_fit_is_not_tried(tmp_path: Path) -> None:
    """A load of a model larger than the memory limit raises ModelTooLarge."""
    async with working(tmp_path, memory_bytes=3) as worked:
        with pytest.raises(ModelTooLarge):
            await worked.session.load(SPELLING)

        assert worked.session.loaded is None
