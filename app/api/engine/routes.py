"""`/engine`: what the engine is and holds, and how to have everything back."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter

from app import errors
from app.api.engine.deps import ModelSessionDep, SupervisorDep
from app.api.engine.schemas import (
    CapabilityOut,
    EngineExitOut,
    EngineOut,
    LicenseOut,
    LoadedOut,
    LoadingOut,
    MemoryOut,
    ReleaseOut,
    VendorOut,
)
from app.api.http.auth import GuardedRoute, needs
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.engine.contract.messages import EngineFacts
from app.engine.supervisor import Supervisor

router = APIRouter(tags=["engine"], route_class=GuardedRoute)


@router.get(
    "/engine", summary="Describe the engine", response_description="The engine.", openapi_extra=needs(Scope.READ)
)
async def get_engine(supervisor: SupervisorDep, session: ModelSessionDep) -> EngineOut:
    """Say what the engine is and holds: its state, its process, its memory, its licence, what it can do, and why not.

    Never waits for the engine: what AsposeAI says of itself is from `asked_at`, and the rest from now.
    """
    memory = await supervisor.memory()
    started_at = supervisor.started_at if supervisor.pid else None
    return EngineOut(
        state=supervisor.state.value,
        reason=supervisor.reason,
        pid=supervisor.pid,
        started_at=started_at,
        uptime_seconds=(datetime.now(UTC) - started_at).total_seconds() if started_at else None,
        restarts=supervisor.restarts,
        last_exit=_last_exit(supervisor),
        busy=supervisor.is_busy,
        waiting=supervisor.waiting,
        memory=MemoryOut.model_validate(memory) if memory else None,
        loading=LoadingOut.model_validate(session.loading) if session.loading else None,
        loaded=LoadedOut.model_validate(session.loaded) if session.loaded else None,
        **_facts(supervisor.facts, supervisor.license_error),
    )


@router.post(
    "/engine/release",
    summary="Release everything the engine holds",
    response_description="What came back: the old process is gone.",
    responses=problems(errors.EngineNotReady),
    openapi_extra=needs(Scope.ENGINE),
)
async def release_engine(supervisor: SupervisorDep) -> ReleaseOut:
    """End the engine's process, have the kernel confirm it, and start a fresh one.

    AsposeAI's own `free_resources()` is called and frees nothing: only the end of its process gives memory, mappings
    and file handles back. A running call may finish first, for a few seconds; then its process is killed. A failed
    engine gets a new start.
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


def _last_exit(supervisor: Supervisor) -> EngineExitOut | None:
    ending = supervisor.last_exit
    if ending is None:
        return None
    return EngineExitOut(at=ending.at, pid=ending.exit.pid, reason=ending.exit.reason, output=list(ending.exit.tail))


def _facts(facts: EngineFacts | None, license_error: str | None) -> dict[str, Any]:
    if facts is None:
        return dict.fromkeys(
            ("vendor", "license", "local_path", "list_local", "is_initialized", "asked_at", "capabilities")
        )
    return {
        "vendor": VendorOut(package=facts.vendor_package, version=facts.vendor_version),
        "license": LicenseOut(mode="licensed" if facts.is_licensed else "evaluation", error=license_error),
        "local_path": facts.local_path,
        "list_local": list(facts.list_local),
        "is_initialized": facts.is_initialized,
        "asked_at": facts.asked_at,
        "capabilities": [CapabilityOut.model_validate(capability) for capability in facts.capabilities],
    }
