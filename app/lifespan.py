"""The lifespan of one service: builds its parts, starts them, lets requests use them, and stops them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from app.api.state import State
from app.build_service import Parts, build_parts
from app.engine.idle_release import release_when_idle
from app.errors import StoreError
from app.errors.exhaustion import exhausted_resource
from app.events import EventName, OnEvent
from app.jobs.sweep import sweep_jobs
from app.metrics import Metrics
from app.settings import Settings
from app.store.volume.monitor import VolumeMonitor, monitor_volume
from app.sweeper import keep_swept

log = structlog.get_logger()

RESTART_PAUSE_SECONDS = 5.0
"""The pause, in seconds, before a part that has raised an exception is run again."""
FAILED, UNLICENSED = 1, 2
"""The exit statuses after a defect, and after the engine refused a licence without which the service must not start."""
OnFailed = Callable[[int], None]
"""Stops the service, which then ends with the given exit status."""
Task = asyncio.Task[None]
Work = Callable[[], Coroutine[Any, Any, None]]

UNLICENSED_DETAIL = (
    "the engine does not accept OCR_LICENSE_FILE: correct the licence, or set OCR_LICENSE_REQUIRED=false to run in "
    "evaluation mode, which cuts texts"
)

AGAIN_SECONDS = 1.0
"""The pause, in seconds, before a part that lacked a descriptor, memory or a thread is run again."""


@asynccontextmanager
async def running(settings: Settings, metrics: Metrics, on_failed: OnFailed) -> AsyncIterator[State]:
    """Start a service and yield the parts that requests use. On exit, stop the service and release its resources.

    `on_failed` is called if a part fails because of a defect, or if the engine refuses a licence that is needed.
    """
    on_event = _reporter(metrics)
    if settings.needs_license:
        on_event = _ending_without_license(on_event, asyncio.get_running_loop(), on_failed)
    parts = await build_parts(settings, metrics, on_event)
    tasks = await start(parts, on_event, on_failed)
    try:
        yield parts.state
    finally:
        await stop(parts, tasks)


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks that run for as long as the service does."""

    engine: Task
    units: Task | None
    """The task that works on the units of jobs; None in a read-only service."""
    others: list[Task]
    """Tasks that hold no resources, and may be cancelled at any moment."""


async def start(parts: Parts, on_event: OnEvent, on_failed: OnFailed) -> Tasks:
    """Start every part and return the tasks. Does not wait for the engine, which becomes ready later."""
    state = parts.state
    state["service_description"].update()  # the first check writes it
    # Check the volume now, so that the first request knows whether the volume may be changed.
    await asyncio.to_thread(_check_volume, state["volume_monitor"], on_event)
    begin = partial(_start, on_event=on_event, on_failed=on_failed)
    # These parts can be interrupted at any point without leaving a half-done change, so a defect in one does not end
    # the service.
    keep = partial(begin, is_restarted=True)
    engine = begin("engine", state["supervisor"].run)
    others = [
        keep("volume", partial(monitor_volume, state["volume_monitor"], state["store"], on_event)),
        keep("service description", state["service_description"].keep),
        keep("inventory", state["inventory_watcher"].run),
        keep("wheel", state["installed_wheel"].run),
    ]
    if parts.idle_seconds:
        others.append(keep("idle release", partial(release_when_idle, state["supervisor"], parts.idle_seconds)))
    if state["access"].read_only:
        return Tasks(engine, None, others)
    store, jobs = state["store"], state["jobs"]
    outbox = state["outbox"]
    sweeps = (
        partial(store.sweep, jobs.needs_no_partials),
        partial(sweep_jobs, jobs, parts.job_retention, outbox.needs_job),
        outbox.sweep,
    )
    state["metrics"].on_swept()
    others.append(keep("sweeper", partial(keep_swept, sweeps, on_event, state["metrics"].on_swept)))
    if parts.deliverer:
        others.append(keep("webhooks", parts.deliverer.run))
    return Tasks(engine, begin("jobs", state["unit_runner"].run), others)


def drain(state: State, seconds: float = 0.0) -> None:
    """Begin no more units of jobs. When the service stops, running units may be finished within `seconds` from now."""
    state["unit_runner"].drain(seconds)


async def stop(parts: Parts, tasks: Tasks) -> None:
    """Stop every part of the service: first the jobs, then the engine, then `tasks.others`."""
    state = parts.state
    if tasks.units:
        await state["unit_runner"].finish()
        state["unit_runner"].stop()
        await _finished(tasks.units)
    await state["offer_list"].close()
    await state["recognition_service"].close()
    await state["pull_requests"].close()
    await state["supervisor"].stop()
    await _finished(tasks.engine)
    for task in tasks.others:
        task.cancel()
        await _finished(task)
    await asyncio.to_thread(state["volume_monitor"].close)
    await asyncio.to_thread(state["store"].journal.retry)
    await asyncio.to_thread(parts.workdirs.close)


def _reporter(metrics: Metrics) -> OnEvent:
    """Return the callback to which parts report their events. It logs each event and counts it in the metrics."""

    def on_event(event: EventName, fields: dict[str, Any]) -> None:
        log.log(event.level, event, **fields)
        metrics.on_event(event, fields)

    return on_event


def _ending_without_license(on_event: OnEvent, loop: asyncio.AbstractEventLoop, on_failed: OnFailed) -> OnEvent:
    """Return an `on_event` that ends the service if the engine refuses the licence before it was ever ready.

    A refusal of a later engine process, such as after the licence has expired, does not end the service: it still
    manages models, its answers say that texts are cut, and its metrics say so too.
    """
    was_ready = False

    def on_license_event(event: EventName, fields: dict[str, Any]) -> None:
        nonlocal was_ready
        on_event(event, fields)
        if event is EventName.ENGINE_READY:
            was_ready = True
        elif event is EventName.ENGINE_LICENSE_REFUSED and not was_ready:
            on_event(EventName.SERVICE_UNLICENSED, {"detail": UNLICENSED_DETAIL})
            loop.call_soon_threadsafe(on_failed, UNLICENSED)

    return on_license_event


def _check_volume(watch: VolumeMonitor, on_event: OnEvent) -> None:
    try:
        watch.check()
    except (StoreError, OSError) as exc:  # the inventory's watcher tries again, and reports it too
        on_event(EventName.STORE_UNAVAILABLE, {"reason": str(exc)})


def _start(name: str, work: Work, *, on_event: OnEvent, on_failed: OnFailed, is_restarted: bool = False) -> Task:
    """Start a task that runs as long as the service runs.

    An exception of `work` is a defect: it stops the service. With `is_restarted`, the work is run again after a pause
    instead.
    """
    task = asyncio.create_task(_keep_running(name, work, on_event, is_restarted=is_restarted), name=name)

    def on_done(task: Task) -> None:
        if not task.cancelled() and (exc := task.exception()):
            log.critical(EventName.SERVICE_PART_FAILED, part=name, exc_info=exc)
            on_failed(FAILED)

    task.add_done_callback(on_done)
    return task


async def _keep_running(name: str, work: Work, on_event: OnEvent, *, is_restarted: bool) -> None:
    """Run a part's work. If the system lacked a descriptor, memory or a thread, run the work again after a pause."""
    while True:
        try:
            await work()
        except Exception as exc:
            if cause := exhausted_resource(exc):
                on_event(EventName.RESOURCES_EXHAUSTED, {"part": name, "cause": cause})
                await asyncio.sleep(AGAIN_SECONDS)
            elif is_restarted:
                log.exception(EventName.SERVICE_PART_RESTARTED, part=name)
                await asyncio.sleep(RESTART_PAUSE_SECONDS)
            else:
                raise
        else:
            return


async def _finished(task: Task) -> None:
    """Wait until a task is finished. Its exception, if it raised one, has been logged already."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.wait({task})
