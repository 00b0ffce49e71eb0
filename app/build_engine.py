"""Builds, from the settings, the parts around the engine process: its supervisor, its session and its leases."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from app.engine.contract.model_config import ModelConfig
from app.engine.contract.ocr_model_needs import may_open_ocr_models
from app.engine.contract.ocr_models import is_ocr_model, why_not_found
from app.engine.contract.recognition_call import RecognitionOptions
from app.engine.model_session import ModelSession, SessionLimits
from app.engine.native.workdir import WorkDirectories
from app.engine.ocr_model_leases import OcrModelLeases
from app.engine.process.engine_process import EngineProcess
from app.engine.process.memory_limits import default_limit_bytes
from app.engine.states import SupervisorLimits
from app.engine.supervisor import Supervisor
from app.engine.wheel.installed_wheel import InstalledWheel
from app.events import EventName, OnEvent
from app.settings import Settings
from app.store import STORE_LOCK_SECONDS, Store
from app.store.inventory_watcher import InventoryWatcher
from app.store.volume.monitor import VolumeMonitor


def build_workdirs(settings: Settings, models_dir: Path) -> WorkDirectories:
    """Create the folder that holds the working directories of engine processes. Blocks; raises OSError."""
    return WorkDirectories(settings.state_dir.resolve(), models_dir, settings.native_dir.resolve())


def build_supervisor(settings: Settings, models_dir: Path, workdirs: WorkDirectories, on_event: OnEvent) -> Supervisor:
    """Build the supervisor of the engine process. `Supervisor.run` starts the process."""
    memory_bytes = _memory_limit(settings)
    return Supervisor(
        _spawner(settings.engine_class, workdirs, memory_bytes, on_event),
        models_dir=models_dir,
        license_file=settings.license_file.resolve() if settings.license_file else None,
        limits=SupervisorLimits(
            start_seconds=settings.engine_start_timeout.total_seconds(),
            stop_seconds=settings.shutdown_grace.total_seconds() / 2,
            queue_size=settings.engine_queue_size,
            restart_budget=settings.engine_restart_budget,
            stable_seconds=settings.engine_stable_after.total_seconds(),
            memory_bytes=memory_bytes,
        ),
        on_event=on_event,
    )


def _memory_limit(settings: Settings) -> int:
    return default_limit_bytes() if settings.engine_memory_limit is None else settings.engine_memory_limit


def _spawner(
    engine_class: str, workdirs: WorkDirectories, memory_limit_bytes: int, on_event: OnEvent
) -> Callable[[], Awaitable[EngineProcess]]:
    """Return a function that starts an engine process in a new working directory."""

    async def spawn() -> EngineProcess:
        directory = await asyncio.to_thread(workdirs.prepare)
        return await EngineProcess.spawn(
            engine_class,
            directory=directory,
            environment=workdirs.environment(directory),
            memory_limit_bytes=memory_limit_bytes,
            on_line=lambda line: on_event(EventName.ENGINE_OUTPUT, {"line": line}),
            on_gone=lambda: workdirs.discard(directory),
        )

    return spawn


def build_model_session(settings: Settings, store: Store, supervisor: Supervisor, on_event: OnEvent) -> ModelSession:
    """Build the session that loads models.

    The session gets a function that takes leases on models, because the package `engine` does not import the store.
    """

    def hold(name: str, use: str, pid: int) -> Callable[[], None]:
        return store.locks.lease(name, kind="engine", holder=use, pid=pid, seconds=STORE_LOCK_SECONDS).release

    return ModelSession(
        supervisor,
        models_dir=store.root,
        hold=hold,
        check_folder=store.volume.check,
        limits=SessionLimits(
            load_seconds=settings.engine_load_timeout.total_seconds(),
            memory_bytes=supervisor.memory_limit_bytes,
        ),
        config=ModelConfig(settings.engine_gpu_layers, settings.engine_context_size),
        on_event=on_event,
    )


def build_ocr_model_leases(
    store: Store, watcher: InventoryWatcher, volume_monitor: VolumeMonitor, wheel: InstalledWheel
) -> OcrModelLeases:
    """Build the leases that recognition takes on the OCR models of the folder.

    While the volume does not answer, recognition takes no leases, so that it does not wait for the volume. While it is
    not known what the vendor's package needs, a recognition may open any OCR model.
    """

    def names(options: RecognitionOptions) -> list[str]:
        if wheel.facts and not may_open_ocr_models(options, wheel.facts):
            return []
        inventory = watcher.inventory
        found = inventory.models if inventory and not volume_monitor.unanswered else ()
        return [name for name in found if is_ocr_model(name) and not why_not_found(name)]

    def hold(name: str, use: str, pid: int) -> Callable[[], None]:
        return store.locks.lease(name, kind="engine", holder=use, pid=pid).release

    return OcrModelLeases(models_dir=store.root, names=names, hold=hold)
