"""The parts of a running service: built in order, run side by side, closed in the other order."""

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any

import structlog

from app.api.ai.service import TextService
from app.api.ai.texts import TextLimits
from app.api.http.auth import Access
from app.api.http.keys import Keyring
from app.api.images.receiver import ImageReceiver
from app.api.images.service import RecognitionService
from app.api.models.list_cache import ListCache
from app.api.models.upload_receiver import UploadReceiver
from app.api.state import State
from app.build import build_jobs, build_puller
from app.engine.contract.recognition import ImageLimits
from app.engine.idle_release import release_when_idle
from app.engine.model_session import ModelSession, SessionLimits
from app.engine.native.workdir import WorkDirectories
from app.engine.process import EngineProcess
from app.engine.states import SupervisorLimits
from app.engine.supervisor import Supervisor
from app.errors import StoreError
from app.events import EventName, OnEvent
from app.jobs.runner import BackgroundJobs
from app.metrics import Metrics
from app.settings import Settings
from app.store.inventory_watcher import InventoryWatcher
from app.store.policy import Policy
from app.store.store import Store
from app.store.trash.sweeper import keep_swept
from app.store.volume.monitor import VolumeMonitor, monitor_volume

log = structlog.get_logger()

LEASE_SECONDS = 2.0
"""How long a load waits for a change of its model; a change takes milliseconds."""


@asynccontextmanager
async def opened(settings: Settings, metrics: Metrics) -> AsyncIterator[State]:
    """The parts of a running service; on the way out everything they hold is given back."""

    def on_event(event: EventName, fields: dict[str, Any]) -> None:
        log.log(event.level, event, **fields)
        metrics.on_event(event, fields)

    keyring = await asyncio.to_thread(Keyring.load, settings.api_keys_file) if settings.api_keys_file else None
    policy = Policy(settings.old_patterns, settings.protected)
    store = Store(
        settings.models_dir,
        policy,
        trash_retention=settings.trash_retention,
        on_event=on_event,
    )
    jobs = build_jobs(store)
    await asyncio.to_thread(store.open)
    watch = VolumeMonitor(store.volume, on_event, is_single=settings.single_service, is_observer=settings.read_only)
    await asyncio.to_thread(_first_look, watch, on_event)
    workdirs = await asyncio.to_thread(
        WorkDirectories, settings.state_dir.resolve(), store.root, settings.native_dir.resolve()
    )
    supervisor = _supervisor(settings, store, workdirs, on_event)
    session = _session(settings, store, supervisor, on_event)
    call_seconds = settings.engine_call_timeout / timedelta(seconds=1)
    watcher = InventoryWatcher(
        store, on_change=supervisor.refresh_facts, on_event=on_event, unanswered=lambda: watch.unanswered
    )
    pull_runner = build_puller(settings, store, jobs, lambda model: watcher.look_at(model.name), on_event)
    text_service = TextService(store, supervisor, session, TextLimits(settings.ai_max_text_bytes, call_seconds))
    background = BackgroundJobs(jobs)
    state = State(
        access=Access(keyring, read_only=settings.read_only),
        store=store,
        jobs=jobs,
        watch=watch,
        watcher=watcher,
        supervisor=supervisor,
        session=session,
        text_service=text_service,
        background=background,
        list_cache=ListCache(store, watcher, supervisor),
        receiver=UploadReceiver(
            max_uploads=settings.max_uploads,
            max_bytes=settings.max_upload_bytes,
            stall_seconds=settings.upload_stall_timeout / timedelta(seconds=1),
            retention=settings.partial_retention,
        ),
        reader=_reader(settings, supervisor, workdirs),
        metrics=metrics,
        pull_runner=pull_runner,
    )
    engine_task = _start("engine", supervisor.run())
    keeping_tasks = [_start("volume", monitor_volume(watch, store, on_event)), _start("inventory", watcher.run())]
    if idle_seconds := settings.engine_idle_release / timedelta(seconds=1):
        keeping_tasks.append(_start("idleness", release_when_idle(supervisor, idle_seconds)))
    puller_task = None
    if not settings.read_only:
        sweeps = (partial(store.sweep, jobs.is_over), partial(jobs.sweep, settings.job_retention))
        keeping_tasks.append(_start("sweeper", keep_swept(sweeps, on_event)))
        puller_task = _start("puller", pull_runner.run())
    try:
        yield state
    finally:
        await background.close()
        if puller_task:
            pull_runner.stop()
            await _finished(puller_task)
        await supervisor.stop()
        await _finished(engine_task)
        for task in keeping_tasks:
            task.cancel()
            await _finished(task)
        await asyncio.to_thread(watch.close)
        await asyncio.to_thread(workdirs.close)


def _first_look(watch: VolumeMonitor, on_event: OnEvent) -> None:
    """Know before the first request whether the volume may be changed."""
    try:
        watch.look()
    except (StoreError, OSError) as exc:  # the inventory says so too, and goes on trying
        on_event(EventName.STORE_UNAVAILABLE, {"reason": str(exc)})


def _supervisor(settings: Settings, store: Store, workdirs: WorkDirectories, on_event: OnEvent) -> Supervisor:
    async def spawn() -> EngineProcess:
        directory = await asyncio.to_thread(workdirs.prepare)
        return await EngineProcess.spawn(
            settings.engine_class,
            directory=directory,
            environment=workdirs.environment(directory),
            on_line=lambda line: log.info(EventName.ENGINE_OUTPUT, line=line),
            on_gone=lambda: workdirs.discard(directory),
        )

    return Supervisor(
        spawn,
        models_dir=store.root,
        license_file=settings.license_file.resolve() if settings.license_file else None,
        limits=SupervisorLimits(
            start_seconds=settings.engine_start_timeout / timedelta(seconds=1),
            stop_seconds=settings.shutdown_grace / timedelta(seconds=1) / 2,
            queue_size=settings.engine_queue_size,
            restart_budget=settings.engine_restart_budget,
            stable_seconds=settings.engine_stable_after / timedelta(seconds=1),
        ),
        on_event=on_event,
    )


def _session(settings: Settings, store: Store, supervisor: Supervisor, on_event: OnEvent) -> ModelSession:
    def hold(name: str, use: str, pid: int) -> Callable[[], None]:
        return store.locks.lease(name, kind="engine", holder=use, pid=pid, seconds=LEASE_SECONDS).release

    return ModelSession(
        supervisor,
        models_dir=store.root,
        hold=hold,
        limits=SessionLimits(
            load_seconds=settings.engine_load_timeout / timedelta(seconds=1),
            memory_bytes=settings.engine_memory_limit,
        ),
        on_event=on_event,
    )


def _reader(settings: Settings, supervisor: Supervisor, workdirs: WorkDirectories) -> RecognitionService:
    return RecognitionService(
        supervisor,
        ImageReceiver(
            workdirs.folder_for_call,
            max_bytes=settings.max_image_bytes,
            stall_seconds=settings.upload_stall_timeout / timedelta(seconds=1),
        ),
        ImageLimits(settings.max_image_pixels, settings.max_image_pages),
        max_files=settings.max_image_files,
        seconds=settings.recognition_timeout / timedelta(seconds=1),
    )


def _start(name: str, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
    """Run a part for as long as the service lives. If it fails, that is a defect, and the service ends."""
    task = asyncio.create_task(work, name=name)

    def on_done(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (exc := task.exception()):
            log.critical(EventName.SERVICE_PART_FAILED, part=name, exc_info=exc)
            signal.raise_signal(signal.SIGTERM)

    task.add_done_callback(on_done)
    return task


async def _finished(task: asyncio.Task[None]) -> None:
    # A part that failed was logged when it did.
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait({task})
