"""`ListCache`: the list neither waits for a hung disk nor shows outdated recognition."""

import asyncio
import threading
from datetime import timedelta
from pathlib import Path

import pytest
from anyio import fail_after, to_thread

from app.api.models.list_cache import ListCache
from app.api.models.list_query import ListQuery
from app.api.models.list_renderer import ListRenderer
from app.engine.process.engine_process import EngineProcess
from app.engine.states import EngineState, SupervisorLimits
from app.engine.supervisor import Supervisor
from app.store.inventory_watcher import InventoryWatcher
from app.store.policy import Policy
from app.store.store import Store
from tests.support.supervised import supervised
from tests.support.waiting import eventually_async

MANY = 100
"""More calls than the shared pools have threads."""


async def no_engine() -> EngineProcess:
    """Fail the start of an engine, which this test does not need."""
    raise NotImplementedError


@pytest.mark.anyio
async def test_the_list_is_answered_while_all_shared_threads_are_blocked(tmp_path: Path) -> None:
    """While every shared thread of asyncio and of anyio is blocked, the list is still answered."""
    (tmp_path / "a.bin").write_bytes(b"model")
    store = Store(tmp_path, Policy(), trash_retention=timedelta(0), on_event=lambda *_: None)
    store.open()
    watcher = InventoryWatcher(store, on_change=lambda: None, on_event=lambda *_: None)
    await watcher.scan()
    limits = SupervisorLimits(start_seconds=1, stop_seconds=1, queue_size=1, restart_budget=1, stable_seconds=1)
    supervisor = Supervisor(
        no_engine,
        models_dir=tmp_path,
        license_file=None,
        limits=limits,
        on_event=lambda *_: None,
    )
    list_cache = ListCache(store, watcher, supervisor)
    answering = threading.Event()
    stuck = [asyncio.create_task(asyncio.to_thread(answering.wait)) for _ in range(MANY)]
    stuck += [asyncio.create_task(to_thread.run_sync(answering.wait)) for _ in range(MANY)]
    try:
        await asyncio.sleep(0)
        with fail_after(100):
            answer = await list_cache.answer(b"sort=-size", ListQuery(sort="-size_bytes"))
    finally:
        answering.set()
        await asyncio.wait(stuck)
    assert answer.size > 100


@pytest.mark.anyio
async def test_recognised_is_null_for_a_model_added_after_asposeai_was_asked(tmp_path: Path) -> None:
    """`recognised` is null until AsposeAI is asked again, also for added files that are older than the question."""
    early = tmp_path / "early"
    early.mkdir()
    (early / "a.bin").touch()
    async with supervised(tmp_path) as engine:
        supervisor = await engine.until(EngineState.READY)
        root = tmp_path / "models"
        (root / "old.bin").touch()
        store = Store(root, Policy(), trash_retention=timedelta(0), on_event=lambda *_: None)
        store.open()
        watcher = InventoryWatcher(
            store,
            on_change=lambda: supervisor.note_models(watcher.inventory.models if watcher.inventory else {}),
            on_event=lambda *_: None,
        )
        listing = ListCache(store, watcher, supervisor)

        def shown() -> dict[str, bool | None]:
            return {name: listing.describe(model).recognised for name, model in watcher.current().models.items()}

        await watcher.scan()
        await eventually_async(lambda: shown() == {"old.bin": False})

        async with supervisor.acquire():
            early.rename(root / "early")
            await watcher.refresh("early")
            assert shown() == {"early/a.bin": None, "old.bin": False}
        await eventually_async(lambda: shown() == {"early/a.bin": False, "old.bin": False})

        pid = supervisor.pid
        await supervisor.release()
        await engine.until_replaced(pid)
        assert shown() == {"early/a.bin": False, "old.bin": False}


@pytest.mark.anyio
async def test_requests_share_an_answer_while_the_list_changes_all_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Requests that wait for a rendering share the next one, though the list has changed again; a page waits for none.

    A real rendering of a list that takes seconds needs 100,000 files. So the rendering of this small list is patched:
    it waits, and changes the list, as another program could in the seconds of a large one.
    """
    (tmp_path / "a.bin").write_bytes(b"model")
    store = Store(tmp_path, Policy(), trash_retention=timedelta(0), on_event=lambda *_: None)
    store.open()
    watcher = InventoryWatcher(store, on_change=lambda: None, on_event=lambda *_: None)
    await watcher.scan()
    limits = SupervisorLimits(start_seconds=1, stop_seconds=1, queue_size=1, restart_budget=1, stable_seconds=1)
    supervisor = Supervisor(no_engine, models_dir=tmp_path, license_file=None, limits=limits, on_event=lambda *_: None)
    list_cache = ListCache(store, watcher, supervisor)
    may_render, renderings = threading.Event(), 0
    render = ListRenderer.render

    def changing(renderer: ListRenderer, query: ListQuery) -> bytes:
        nonlocal renderings
        if query.limit is None:
            renderings += 1
            assert may_render.wait(60)
            watcher.protected = {}  # another object, so the list counts as changed
        return render(renderer, query)

    monkeypatch.setattr(ListRenderer, "render", changing)
    with fail_after(60):
        whole = [asyncio.create_task(list_cache.answer(b"", ListQuery())) for _ in range(16)]
        await eventually_async(lambda: renderings == 1)
        whole += [asyncio.create_task(list_cache.answer(b"", ListQuery())) for _ in range(16)]
        page = await list_cache.answer(b"limit=1", ListQuery(limit=1))
        may_render.set()
        answers = await asyncio.gather(*whole)
    assert renderings == 2
    assert page.size
    assert all(answer.size for answer in answers)
