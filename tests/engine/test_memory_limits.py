"""The memory limit of an engine process: its default, the watch during calls, the kernel's limit behind the watch."""

import asyncio
import os
import signal
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.engine.process import memory_limits
from app.engine.process.memory_limits import (
    MIB,
    container_limit_bytes,
    default_limit_bytes,
    hard_limit_bytes,
    oom_kills,
)
from app.engine.states import EngineState
from app.errors import EngineDied, EngineOutOfMemory
from tests.support.supervised import QUICK, supervised
from tests.support.waiting import eventually_async

LIMIT = 200 * MIB
LIMITED = replace(QUICK, memory_bytes=LIMIT)


def proc(folder: Path, mount: Path, *, version: int, root: str, path: str) -> Path:
    """Write the two files of /proc/self that say which control group a process is in; return the /proc."""
    kind, options, controllers = ("cgroup2", "rw", "0:") if version == 2 else ("cgroup", "rw,memory", "4:memory")
    (folder / "self").mkdir(parents=True)
    (folder / "self/mountinfo").write_text(
        f"22 20 0:5 / /proc rw,nosuid - proc proc rw\n31 23 0:26 {root} {mount} rw,relatime - {kind} {kind} {options}\n"
    )
    (folder / "self/cgroup").write_text(f"7:pids:/elsewhere\n{controllers}:{path}\n")
    return folder


@pytest.mark.parametrize(
    ("version", "root", "path", "limited"),
    [
        (2, "/", "/", "."),  # a container with a namespace of its own
        (2, "/", "/system.slice/ocr.service", "system.slice/ocr.service"),  # a service of systemd
        (2, "/", "/kubepods/pod7/ocr", "kubepods/pod7"),  # the limit of the pod, not of the container
        (1, "/docker/7f", "/docker/7f", "."),  # Docker without a namespace
        (1, "/", "/ocr", "ocr"),
        (1, "/docker/7f", "/docker/7f/inner", "inner"),
        (2, "/", "/../../outer", "."),  # as seen from another namespace
    ],
)
def test_the_limit_of_the_container_is_found(version: int, root: str, path: str, limited: str, tmp_path: Path) -> None:
    """The least limit of the process's control group and those above it counts, for both versions of cgroups."""
    mount = tmp_path / "cgroup"
    (mount / limited).mkdir(parents=True)
    folder = proc(tmp_path / "proc", mount, version=version, root=root, path=path)
    name = "memory.max" if version == 2 else "memory.limit_in_bytes"
    (mount / name).write_text("max\n" if version == 2 else "9223372036854771712\n")
    (mount / limited / name).write_text(f"{4 << 30}\n")

    assert container_limit_bytes(folder) == 4 << 30


def test_without_a_limit_the_machine_counts(tmp_path: Path) -> None:
    """Without a container's limit the default is half of the machine's memory; also if no file can be read."""
    mount = tmp_path / "cgroup"
    mount.mkdir()
    folder = proc(tmp_path / "proc", mount, version=1, root="/", path="/")
    half = psutil.virtual_memory().total // 2

    assert default_limit_bytes(folder) == default_limit_bytes(tmp_path / "nowhere") == half
    (mount / "memory.limit_in_bytes").write_text("9223372036854771712\n")
    assert default_limit_bytes(folder) == half


@pytest.mark.parametrize(("container", "engine"), [(4096, 3584), (1024, 768), (256, 128)])
def test_the_default_leaves_memory_to_the_service(container: int, engine: int, tmp_path: Path) -> None:
    """In a container the default is 7/8 of its limit, less in a small one (in MiB), and never 0."""
    mount = tmp_path / "cgroup"
    mount.mkdir()
    (mount / "memory.max").write_text(str(container * MIB))

    found = default_limit_bytes(proc(tmp_path / "proc", mount, version=2, root="/", path="/"))

    assert found == engine * MIB


def test_kills_of_the_kernel_are_counted(tmp_path: Path) -> None:
    """The kernel's kills for lack of memory are those of the control groups, else those of the machine."""
    mount = tmp_path / "cgroup"
    mount.mkdir()
    folder = proc(tmp_path / "proc", mount, version=2, root="/", path="/")
    assert oom_kills(folder) == 0
    (folder / "vmstat").write_text("pgfault 7\noom_kill 3\n")
    assert oom_kills(folder) == 3
    (mount / "memory.events").write_text("low 0\noom 9\noom_kill 2\noom_group_kill 1\n")
    assert oom_kills(folder) == 2


@pytest.mark.anyio
async def test_a_call_that_grows_is_ended_at_the_limit(tmp_path: Path) -> None:
    """A call whose process passes the limit ends long before its deadline, and the error speaks of memory."""
    async with supervised(tmp_path, limits=replace(LIMITED, restart_budget=0)) as engine:
        supervisor = await engine.until(EngineState.READY)
        for _ in range(2):  # it does not count as a death, of which this engine may have none
            pid = supervisor.pid
            with pytest.raises(EngineOutOfMemory, match=f"may hold {LIMIT}"):
                await supervisor.call("grow", {"bytes_a_step": 8 * MIB, "pause": 0.02}, seconds=100)
            await engine.until_replaced(pid, within=30)

        assert await supervisor.call("echo", {"text": "x"}, seconds=30) == "x"
        causes = {fields["cause"] for event, fields in engine.events if event == "engine.died"}
        outcomes = [fields["outcome"] for event, fields in engine.events if event == "engine.called"]
        assert (causes, outcomes) == ({"memory"}, ["out_of_memory", "out_of_memory", "ok"])


@pytest.mark.anyio
@pytest.mark.parametrize("call", ["grow", "grow_natively"])
async def test_growth_that_is_faster_than_the_watch_is_stopped_by_the_kernel(
    call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Behind the watch the kernel refuses memory; the error is the same, whether the call fails or the process ends."""
    monkeypatch.setattr(
        "app.engine.process.engine_process.MEMORY_CHECK_SECONDS", 1000
    )  # only the kernel's limit is left
    async with supervised(tmp_path, limits=LIMITED) as engine:
        supervisor = await engine.until(EngineState.READY)
        pid = supervisor.pid
        with pytest.raises(EngineOutOfMemory, match="could get no more memory"):
            await supervisor.call(call, {"bytes_a_step": 64 * MIB, "pause": 0}, seconds=100)
        await engine.until_replaced(pid, within=30)


@pytest.mark.anyio
async def test_a_call_is_not_ended_for_what_earlier_calls_left(tmp_path: Path) -> None:
    """A call that passes the limit only because of memory that earlier calls left succeeds in a new process."""
    async with supervised(tmp_path, limits=LIMITED) as engine:
        supervisor = await engine.until(EngineState.READY)
        pid = supervisor.pid
        for _ in range(2):
            assert await supervisor.call("keep", {"size": 110 * MIB, "seconds": 0.5}, seconds=60) is None

        assert supervisor.pid != pid
        assert [f["outcome"] for e, f in engine.events if e == "engine.called"] == ["ok", "out_of_memory", "ok"]


@pytest.mark.anyio
@pytest.mark.parametrize(("kills", "error"), [(1, EngineOutOfMemory), (0, EngineDied)])
async def test_the_kernels_kill_is_told_as_memory(
    kills: int, error: type[EngineDied], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A SIGKILL that the service did not send is lack of memory if the kernel counts one more such kill.

    The counter is a fake: the kernel cannot be made to run out of memory in a test.
    """
    counted = [0]
    monkeypatch.setattr("app.engine.process.engine_process.oom_kills", lambda: counted[0])
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        assert supervisor.pid is not None
        call = asyncio.create_task(supervisor.call("sleep", {"seconds": 100}, seconds=100))
        await eventually_async(lambda: supervisor.is_busy)
        counted[0] = kills
        os.kill(supervisor.pid, signal.SIGKILL)

        with pytest.raises(EngineDied) as raised:
            await call
        assert type(raised.value) is error


@pytest.mark.anyio
async def test_the_kernel_ends_the_engine_before_the_service(tmp_path: Path) -> None:
    """The kernel's limit and its preference among processes are set in the engine process, and only there."""
    async with supervised(tmp_path, limits=LIMITED) as engine:
        pid = (await engine.until(EngineState.READY)).pid
        mine = Path("/proc/self/oom_score_adj").read_text()

        assert Path(f"/proc/{pid}/oom_score_adj").read_text() == "1000\n" != mine
        assert psutil.Process(pid).rlimit(psutil.RLIMIT_DATA) == (hard_limit_bytes(LIMIT),) * 2


def test_no_limit_sets_no_limit() -> None:
    """A limit of 0 is none, and the kernel's limit is higher than the limit of the watch."""
    assert hard_limit_bytes(0) == 0
    assert hard_limit_bytes(LIMIT) > LIMIT + memory_limits.DATA_HEADROOM_BYTES
