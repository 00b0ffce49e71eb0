"""The supervisor's behaviour with real engine processes that work, hang, exit or die."""

import asyncio
import os
import shutil
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.engine.states import EngineState
from app.engine.supervisor import Supervisor
from app.errors import EngineBusy, EngineDied, EngineNotReady, EngineTimedOut
from tests.support.supervised import QUICK, supervised
from tests.support.waiting import Deadline, eventually_async

pytestmark = pytest.mark.anyio


async def test_it_becomes_ready_and_tells_what_the_engine_said(tmp_path: Path) -> None:
    """The supervisor starts, is ready with the engine's facts, and stops without leaving a process or a folder."""
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        pid = supervisor.pid

        assert supervisor.facts is not None
        assert supervisor.facts.local_path == str(tmp_path / "models")
        assert await supervisor.call("echo", {"text": "x"}, seconds=60) == "x"

    assert [event for event, _ in engine.events] == [
        "engine.starting",
        "engine.ready",
        "engine.called",
        "engine.stopping",
        "engine.exited",
        "engine.stopped",
    ]
    assert pid is not None
    assert not psutil.pid_exists(pid)
    assert list((tmp_path / "state").iterdir()) == []


async def test_before_it_is_ready_calls_are_refused(tmp_path: Path) -> None:
    """A call before the engine is ready raises EngineNotReady at once."""
    async with supervised(tmp_path, "NeverAnswers") as engine:
        supervisor = await engine.until(EngineState.STARTING)

        with pytest.raises(EngineNotReady, match="starting"):
            await supervisor.call("echo", {"text": "x"}, seconds=60)


async def test_kill_9_brings_it_back(tmp_path: Path) -> None:
    """After SIGKILL the running call raises EngineDied, and another process becomes ready."""
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        pid = supervisor.pid
        assert pid is not None
        call = asyncio.create_task(supervisor.call("hold_gil", {"seconds": 30}, seconds=30))
        await eventually_async(lambda: supervisor.is_busy)

        os.kill(pid, signal.SIGKILL)

        with pytest.raises(EngineDied):
            await call
        await engine.until_replaced(pid)
        assert await supervisor.call("echo", {"text": "x"}, seconds=60) == "x"
        assert supervisor.restarts == 1
        assert supervisor.last_exit is not None
        assert supervisor.last_exit.exit.reason == "killed by SIGKILL"


async def test_calls_run_one_at_a_time_and_only_a_few_wait(tmp_path: Path) -> None:
    """A call to a full queue raises EngineBusy at once, with the number of waiting calls."""
    async with supervised(tmp_path, limits=replace(QUICK, queue_size=2)) as engine:
        supervisor = await engine.until(EngineState.READY)
        gate = tmp_path / "gate"
        running = asyncio.create_task(supervisor.call("wait_for", {"path": str(gate)}, seconds=60))
        await eventually_async(lambda: supervisor.is_busy)
        queued = [asyncio.create_task(supervisor.call("echo", {"text": text}, seconds=60)) for text in "ab"]
        await eventually_async(lambda: supervisor.waiting == 2)

        with pytest.raises(EngineBusy, match="2 calls already wait"):
            await supervisor.call("echo", {"text": "c"}, seconds=60)
        gate.touch()

        assert await asyncio.gather(running, *queued) == [None, "a", "b"]


async def test_after_a_deadline_the_next_call_works(tmp_path: Path) -> None:
    """A process that missed a deadline is replaced at once, and this does not count as a death."""
    async with supervised(tmp_path, limits=replace(QUICK, restart_budget=0)) as engine:
        supervisor = await engine.until(EngineState.READY)
        for _ in range(3):
            pid = supervisor.pid
            with pytest.raises(EngineTimedOut):
                await supervisor.call("hold_gil", {"seconds": 30}, seconds=0.2)
            await engine.until_replaced(pid)

        assert await supervisor.call("echo", {"text": "x"}, seconds=60) == "x"


async def test_an_engine_that_exits_at_start_is_given_up_after_its_budget(tmp_path: Path) -> None:
    """An engine that exits at each start is failed after the restart budget, with a reason; a release restarts it."""
    async with supervised(tmp_path, "ExitsAtStart") as engine:
        supervisor = await engine.until(EngineState.FAILED)

        assert sum(event == "engine.starting" for event, _ in engine.events) == QUICK.restart_budget + 1
        assert supervisor.reason is not None
        assert "exit status 3" in supervisor.reason
        assert supervisor.last_exit is not None
        assert supervisor.last_exit.exit.tail == ("no engine for you",)

        assert (await supervisor.release()).pid is None
        await engine.until(EngineState.STARTING)
        await engine.until(EngineState.FAILED)


async def test_a_failed_engine_is_tried_again_by_itself(tmp_path: Path) -> None:
    """A failed engine is started again after `failed_seconds`, without a release."""
    limits = replace(QUICK, restart_budget=0, stable_seconds=60, failed_seconds=0.2)
    async with supervised(tmp_path, limits=limits) as engine:
        supervisor = await engine.until(EngineState.READY)
        for _ in range(2):
            with pytest.raises(EngineDied):
                await supervisor.call("abort", seconds=60)
            await engine.until(EngineState.FAILED)
            await engine.until(EngineState.READY)

        assert await supervisor.call("echo", {"text": "x"}, seconds=60) == "x"


async def test_a_process_that_was_ended_on_purpose_is_replaced_at_once(tmp_path: Path) -> None:
    """A released process is replaced without the pause that follows a death, even if others died before."""
    limits = replace(QUICK, stable_seconds=60, first_delay_seconds=0.2)
    async with supervised(tmp_path, limits=limits) as engine:
        supervisor = await engine.until(EngineState.READY)
        pid = supervisor.pid
        with pytest.raises(EngineDied):
            await supervisor.call("abort", seconds=60)
        await engine.until_replaced(pid)
        del engine.events[:]

        pid = supervisor.pid
        await supervisor.release()
        await engine.until_replaced(pid)

        assert "engine.backing_off" not in {event for event, _ in engine.events}


async def test_an_engine_that_never_answers_is_replaced_after_its_start_timeout(tmp_path: Path) -> None:
    """A process that does not answer `start` in time is killed, and the supervisor backs off with that reason."""
    async with supervised(tmp_path, "NeverAnswers", limits=replace(QUICK, start_seconds=0.3)) as engine:
        supervisor = await engine.until(EngineState.BACKING_OFF)

        assert supervisor.reason is not None
        assert "did not finish 'start' within 0.3 s" in supervisor.reason

        await engine.until(EngineState.FAILED)
        assert "in the settings. It is tried again after" in supervisor.reason


async def test_release_ends_the_process_and_starts_another(tmp_path: Path) -> None:
    """A release returns after the process has ended, with its memory; simultaneous releases get one result."""
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        pid = supervisor.pid
        assert pid is not None

        first, second = await asyncio.gather(supervisor.release(), supervisor.release())

        assert first is second
        assert first.pid == pid
        assert not psutil.pid_exists(pid)
        assert first.before is not None
        assert first.before.private_bytes > 0
        await engine.until_replaced(pid)
        assert supervisor.restarts == 1


async def test_release_lets_the_running_call_finish(tmp_path: Path) -> None:
    """During a release the running call finishes, and a waiting call runs on the next process."""
    async with supervised(tmp_path, limits=replace(QUICK, stop_seconds=60)) as engine:
        supervisor = await engine.until(EngineState.READY)
        gate = tmp_path / "gate"
        running = asyncio.create_task(supervisor.call("wait_for", {"path": str(gate)}, seconds=60))
        await eventually_async(lambda: supervisor.is_busy)
        waiting = asyncio.create_task(supervisor.call("echo", {"text": "x"}, seconds=60))
        await eventually_async(lambda: supervisor.waiting == 1)

        releasing = asyncio.create_task(supervisor.release())
        await asyncio.sleep(0.3)
        assert not running.done()
        gate.touch()
        await releasing

        assert await running is None
        assert await waiting == "x"


async def test_a_call_that_waits_outlives_the_process_before_it(tmp_path: Path) -> None:
    """A waiting call runs on the next process if the call before it misses its deadline."""
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        running = asyncio.create_task(supervisor.call("hold_gil", {"seconds": 30}, seconds=0.3))
        await eventually_async(lambda: supervisor.is_busy)
        waiting = asyncio.create_task(supervisor.call("echo", {"text": "x"}, seconds=60))

        with pytest.raises(EngineTimedOut):
            await running
        assert await waiting == "x"


async def end_by_kill_9(supervisor: Supervisor) -> None:
    assert supervisor.pid is not None
    os.kill(supervisor.pid, signal.SIGKILL)
    await eventually_async(lambda: not supervisor.is_ready, within=30)


async def end_by_deadline(supervisor: Supervisor) -> None:
    with pytest.raises(EngineTimedOut):
        await supervisor.call("hold_gil", {"seconds": 60}, seconds=0.1)


async def end_by_hanging_up(supervisor: Supervisor) -> None:
    call = asyncio.create_task(supervisor.call("hold_gil", {"seconds": 60}, seconds=60))
    await eventually_async(lambda: supervisor.is_busy)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)


async def end_by_release(supervisor: Supervisor) -> None:
    await supervisor.release()


async def end_by_crash(supervisor: Supervisor) -> None:
    with pytest.raises(EngineDied):
        await supervisor.call("abort", seconds=60)


@pytest.mark.parametrize("end", [end_by_kill_9, end_by_deadline, end_by_hanging_up, end_by_release, end_by_crash])
async def test_a_newcomer_waits_for_the_next_process(
    end: Callable[[Supervisor], Awaitable[None]], tmp_path: Path
) -> None:
    """Right after the end of a process the state is not ready, and a new call waits for the next process."""
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        for _ in range(2):
            pid = supervisor.pid
            await end(supervisor)

            assert supervisor.state is not EngineState.READY
            assert supervisor.reason
            supervisor.require_queue_space()
            assert await supervisor.call("echo", {"text": "x"}, seconds=60) == "x"
            assert supervisor.pid != pid


async def test_a_newcomer_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A newcomer waits at most `start_seconds` for the next process; if the engine has failed, it does not wait."""
    async with supervised(tmp_path, limits=replace(QUICK, start_seconds=1, restart_budget=0)) as engine:
        supervisor = await engine.until(EngineState.READY)
        shutil.rmtree(tmp_path / "state")
        (tmp_path / "state").touch()
        await supervisor.release()

        with pytest.raises(EngineNotReady):
            await supervisor.call("echo", {"text": "x"}, seconds=60)
        await engine.until(EngineState.FAILED)
        with pytest.raises(EngineNotReady, match="failed"):
            supervisor.require_queue_space()


async def test_release_does_not_wait_for_ever(tmp_path: Path) -> None:
    """A call that does not finish during a release fails, because its process is ended after `stop_seconds`."""
    async with supervised(tmp_path, limits=replace(QUICK, stop_seconds=1)) as engine:
        supervisor = await engine.until(EngineState.READY)
        running = asyncio.create_task(supervisor.call("hold_gil", {"seconds": 600}, seconds=600))
        await eventually_async(lambda: supervisor.is_busy)

        async with asyncio.timeout(100):
            await supervisor.release()

        with pytest.raises((EngineDied, EngineTimedOut)):
            await running


async def test_a_release_does_not_wait_for_a_caller_that_waits_for_the_next_process(tmp_path: Path) -> None:
    """A caller may hold the engine without a call, while it waits for the next process."""
    limits = replace(QUICK, stop_seconds=200)
    async with supervised(tmp_path, limits=limits) as engine:
        supervisor = await engine.until(EngineState.READY)
        pid = supervisor.pid
        async with supervisor.acquire():
            releasing = asyncio.create_task(supervisor.release())
            await engine.until(EngineState.STOPPING)

            assert (await supervisor.wait_until_ready()).pid != pid

        assert (await releasing).seconds < limits.stop_seconds / 2


async def test_release_while_it_starts_starts_afresh(tmp_path: Path) -> None:
    """A release of an engine that hangs in its start ends that process and starts another."""
    async with supervised(tmp_path, "NeverAnswers") as engine:
        supervisor = await engine.until(EngineState.STARTING)
        await eventually_async(lambda: supervisor.pid is not None)
        pid = supervisor.pid
        assert pid is not None

        await supervisor.release()

        assert not psutil.pid_exists(pid)
        await eventually_async(lambda: supervisor.pid not in {None, pid})


async def test_stop_ends_an_engine_that_ignores_everything_within_the_grace(tmp_path: Path) -> None:
    """A stop ends a process that ignores SIGTERM within `stop_seconds`."""
    async with supervised(tmp_path, "IgnoresTerm", limits=replace(QUICK, stop_seconds=2)) as engine:
        supervisor = await engine.until(EngineState.READY)
        pid = supervisor.pid
        limit = Deadline(3)

    assert not limit.is_over
    assert pid is not None
    assert not psutil.pid_exists(pid)


async def test_a_wrong_license_is_an_error_and_not_a_death(tmp_path: Path) -> None:
    """With a wrong license file the engine becomes ready unlicensed, and `license_error` has the reason."""
    async with supervised(tmp_path, license_file=tmp_path / "wrong.lic") as engine:
        supervisor = await engine.until(EngineState.READY)

        assert supervisor.license_error == f"RuntimeError: {tmp_path}/wrong.lic is no license"


async def test_a_license_that_kills_the_engine_is_tried_once(tmp_path: Path) -> None:
    """After a license file has killed a process, the next process starts without the license."""
    async with supervised(tmp_path, "DiesOfLicense", license_file=tmp_path / "wrong.lic") as engine:
        supervisor = await engine.until(EngineState.READY)

        assert supervisor.license_error is not None
        assert "SIGABRT" in supervisor.license_error
        assert supervisor.restarts == 1


async def test_an_engine_with_another_folder_is_not_trusted(tmp_path: Path) -> None:
    """An engine whose model folder is not the store's never becomes ready, and the reason names its folder."""
    async with supervised(tmp_path, "LooksElsewhere") as engine:
        supervisor = await engine.until(EngineState.FAILED)

        assert supervisor.reason is not None
        assert "/somewhere/else" in supervisor.reason


async def test_facts_are_asked_for_again_when_the_folder_changes(tmp_path: Path) -> None:
    """After `refresh_facts` the supervisor gets new facts, which list a new model."""
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        (tmp_path / "models" / "new.gguf").touch()

        supervisor.refresh_facts()

        await eventually_async(lambda: supervisor.facts is not None and supervisor.facts.recognised == {"new.gguf"})


async def test_a_state_folder_that_goes_away_is_no_crash(tmp_path: Path) -> None:
    """If the state folder is missing, the start counts as a death, and the engine is ready again when it is back."""
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        for child in (tmp_path / "state").glob("engine-*/**/*"):
            if child.is_symlink() or child.is_file():
                child.unlink()
        (tmp_path / "state").rename(tmp_path / "elsewhere")
        (tmp_path / "state").touch()  # otherwise the folder would be made anew

        await supervisor.release()
        await engine.until(EngineState.BACKING_OFF)
        assert supervisor.reason is not None
        assert "could not be started" in supervisor.reason

        (tmp_path / "state").unlink()
        (tmp_path / "elsewhere").rename(tmp_path / "state")
        await engine.until(EngineState.READY)
