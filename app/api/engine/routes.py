"""`/engine`: get the engine's state, load a model, release the engine's memory."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from anyio import to_thread
from fastapi import APIRouter, Request

from app import errors
from app.api.engine.deps import ModelSessionDep, SupervisorDep
from app.api.engine.model_choice import LOAD_ERRORS, ModelChoiceDep
from app.api.engine.schemas import (
    CapabilityOut,
    EngineExitOut,
    EngineOut,
    LicenseOut,
    LoadedOut,
    LoadIn,
    LoadingOut,
    MemoryOut,
    OpenOcrModelOut,
    ReleaseOut,
    RuntimeOut,
    VendorOut,
)
from app.api.http.auth import GuardedRoute, needs
from app.api.http.disconnects import cancel_on_disconnect
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.engine.contract.messages import EngineFacts
from app.engine.contract.ocr_models import is_ocr_model
from app.engine.process.process_memory import mapped_below, open_below
from app.engine.supervisor import Supervisor

router = APIRouter(tags=["engine"], route_class=GuardedRoute)


@router.get("/engine", summary="Get the engine", response_description="The engine.", openapi_extra=needs(Scope.READ))
async def get_engine(request: Request, supervisor: SupervisorDep, session: ModelSessionDep) -> EngineOut:
    """Get the engine's state, process, memory, licence and capabilities, with the reason for each missing capability.

    The answer never waits for the engine. The facts that AsposeAI reports are from the time `asked_at`; all other
    values are current.
    """
    memory = await supervisor.memory()
    open_ocr_models = await to_thread.run_sync(_open_ocr_models, supervisor.pid, request.state.store.root)
    started_at = supervisor.started_at if supervisor.pid else None
    return EngineOut(
        state=supervisor.state,
        reason=supervisor.reason,
        pid=supervisor.pid,
        started_at=started_at,
        uptime_seconds=(datetime.now(UTC) - started_at).total_seconds() if started_at else None,
        restarts=supervisor.restarts,
        last_exit=_last_exit(supervisor),
        busy=supervisor.is_busy,
        waiting=supervisor.waiting,
        memory=MemoryOut.model_validate(memory) if memory else None,
        memory_limit_bytes=supervisor.memory_limit_bytes,
        gpu_layers=session.config.gpu_layers,
        context_size=session.config.context_size,
        loading=LoadingOut.model_validate(session.loading) if session.loading else None,
        loaded=LoadedOut.model_validate(session.loaded) if session.loaded else None,
        open_ocr_models=open_ocr_models,
        **_facts(supervisor.facts, supervisor.license_error),
    )


@router.post(
    "/engine/load",
    summary="Load a model",
    response_description="The loaded model.",
    responses=problems(*LOAD_ERRORS, errors.InvalidModelName, errors.ModelNotFound, errors.ModelNotLicensed),
    openapi_extra=needs(Scope.ENGINE),
)
async def load_model(request: Request, body: LoadIn, choice: ModelChoiceDep, session: ModelSessionDep) -> LoadedOut:
    """Load a model for a processor; answer at once if it is loaded already.

    The calls below `/ai` load their model themselves; this call loads it in advance. One processor is loaded at a time.
    Loading another processor replaces the engine's process, because AsposeAI frees nothing while its process lives. A
    loaded model is in use and cannot be deleted. During the load `GET /engine` shows it as `loading`. If the caller
    disconnects, the load is cancelled.
    """
    wanted = await choice.choose(body.processor, body.model)
    return LoadedOut.model_validate(await cancel_on_disconnect(request, session.load(wanted)))


@router.post(
    "/engine/release",
    summary="Release the engine",
    response_description="The memory before and after. The old process has ended.",
    responses=problems(errors.EngineNotReady),
    openapi_extra=needs(Scope.ENGINE),
)
async def release_engine(supervisor: SupervisorDep) -> ReleaseOut:
    """End the engine's process, wait until the kernel has reaped it, and start a fresh one.

    AsposeAI's own `free_resources()` is called, but only the end of its process gives memory, mappings and file
    handles back. A running call has a few seconds to finish; then its process is killed. A failed engine is started
    again.
    """
    release = await supervisor.release()
    return ReleaseOut(
        pid=release.pid,
        exit_reason=release.exit_reason,
        resident_bytes_before=release.before.resident_bytes if release.before else 0,
        private_bytes_before=release.before.private_bytes if release.before else 0,
        mapped_bytes_before=release.mapped_bytes,
        tree_bytes_after=release.after_bytes,
        returned_bytes=release.returned_bytes,
        seconds=round(release.seconds, 3),
    )


def _open_ocr_models(pid: int | None, models_dir: Path) -> list[OpenOcrModelOut]:
    """Return the OCR models that a process has open. Blocks for milliseconds."""
    if pid is None:
        return []
    mapped = mapped_below(pid, models_dir)
    names = sorted(name for name in open_below(pid, models_dir) if is_ocr_model(name))
    return [OpenOcrModelOut(model=name, mapped_bytes=mapped.get(name, 0)) for name in names]


def _last_exit(supervisor: Supervisor) -> EngineExitOut | None:
    last = supervisor.last_exit
    if last is None:
        return None
    return EngineExitOut(at=last.at, pid=last.exit.pid, reason=last.exit.reason, output=list(last.exit.tail))


def _facts(facts: EngineFacts | None, license_error: str | None) -> dict[str, Any]:
    if facts is None:
        return dict.fromkeys(
            (
                "vendor",
                "license",
                "local_path",
                "list_local",
                "resources_list_local",
                "runtime",
                "is_initialized",
                "asked_at",
                "capabilities",
            )
        )
    return {
        "vendor": VendorOut(package=facts.vendor_package, version=facts.vendor_version),
        "license": LicenseOut(mode="licensed" if facts.is_licensed else "evaluation", error=license_error),
        "local_path": facts.local_path,
        "list_local": list(facts.list_local),
        "resources_list_local": list(facts.resources_list_local),
        "runtime": RuntimeOut.model_validate(facts.runtime) if facts.runtime else None,
        "is_initialized": facts.is_initialized,
        "asked_at": facts.asked_at,
        "capabilities": [CapabilityOut.model_validate(capability) for capability in facts.capabilities],
    }
