"""`/audit`: a report on every model, as JSON or as text."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

from anyio import to_thread
from fastapi import APIRouter, Header, Response

from app import errors
from app.api.examples.models import FOLDER
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import StoreDep, WatcherDep
from app.api.http.header_fields import JSON, TEXT
from app.api.http.keys import Scope
from app.api.http.negotiation import best_or_first
from app.api.http.problems import problems
from app.api.http.schema import DamagedRecordOut
from app.api.maintenance.schemas import AuditOut, FindingOut, PartialOut, ReclaimableOut, Remark
from app.api.models.list_cache import ListCache, ListCacheDep
from app.api.models.schemas import BlockerOut, protection_out
from app.store import Blocker, Finding, Partial, Protection, Reason, Report
from app.store.records.reader import DamagedRecord

router = APIRouter(tags=["upkeep"], route_class=GuardedRoute)

EXAMPLE = f"OLD:     {FOLDER}/old_en_ocr_v1.bin  (matches old_*)\nCURRENT: {FOLDER}/en_ocr_v2.bin\n"
AUDITED = ("corrupt", "digest", "partial", "protection", "trash")
"""The kinds of record that an audit reads."""
AS_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {TEXT: {"schema": {"type": "string", "examples": [EXAMPLE]}}}}
}


@router.get(
    "/audit",
    summary="Get audit",
    response_description="The report, as JSON or as text.",
    response_model=AuditOut,
    responses={**AS_TEXT, **problems(errors.StoreUnavailable)},
    openapi_extra=needs(Scope.READ),
)
async def get_audit(
    store: StoreDep,
    watcher: WatcherDep,
    list_cache: ListCacheDep,
    accept: Annotated[
        str, Header(description="`text/plain` for a report with one line for each model and file. The default is JSON.")
    ] = JSON,
) -> Any:  # noqa: ANN401 - a report or its text
    """Get a report on every model, on unfinished files and on reclaimable space.

    A model is old if its name matches a pattern of `OCR_OLD_PATTERNS`. An OCR model is also old if a newer version is
    in the same folder and the vendor's package asks for that version and not for this one. For any other model, a
    version with a higher number is only a hint. A model is corrupt if a verification found other bytes than recorded,
    or if its header shows that the file is cut off. In the text format each line begins with `OLD:`, `CURRENT:` or, for
    an unfinished file, `PARTIAL:`.
    """
    inventory = await watcher.current_when_scanned()
    found = await to_thread.run_sync(store.audits.report, inventory, limiter=threads.audits)
    damaged = await to_thread.run_sync(store.volume.records.damaged, *AUDITED, limiter=threads.audits)
    if best_or_first((JSON, TEXT), [accept]) == TEXT:
        return Response(_as_text(found, store.root), media_type=TEXT)
    return _as_json(found, damaged, store.root, list_cache)


def _as_text(found: Report, root: Path) -> str:
    lines = []
    for finding in found.findings:
        about = [f"matches {finding.stale_pattern}"] if finding.stale_pattern else []
        about += _version(finding)
        about += [f"corrupt: {finding.corrupt}"] if finding.corrupt else []
        about += [finding.misnamed] if finding.misnamed else []
        about += [f"looks like {name!a}" for name in finding.looks_like]
        about += [_protection(finding.protection)] if finding.protection else []
        about += [_use(blocker) for blocker in found.blockers.get(finding.model.name, [])]
        lines.append(_line("OLD:" if finding.is_old else "CURRENT:", f"{root}/{finding.model.name}", about))
    for partial in found.partials:
        about = [f"for {partial.name}"] if partial.name else []
        about += [f"{partial.size_bytes} bytes", "active" if partial.is_active else "inactive"]
        lines.append(_line("PARTIAL:", partial.id, about))
    return "".join(lines)


def _line(label: str, what: str, about: list[str]) -> str:
    return f"{label:<8} {what}" + (f"  ({'; '.join(about)})" if about else "") + "\n"


def _version(finding: Finding) -> list[str]:
    if Reason.SUPERSEDED in finding.reasons:
        return [f"superseded: the vendor's package asks for {finding.superseded_by} and no longer for this one"]
    if finding.superseded_by:
        return [f"hint: {finding.superseded_by} has a higher number; both may be used"]
    return ["needed: the vendor's package asks for it"] if finding.is_needed else []


def _protection(protection: Protection) -> str:
    if protection.pattern is None and (given := protection.manual):
        return f"protected by {given.by}: {given.reason}"
    return f"protected by {protection.pattern}"


def _use(blocker: Blocker) -> str:
    about = [blocker.kind, blocker.holder, f"pid {blocker.pid} on {blocker.host}" if blocker.pid else None]
    return "in use by " + ", ".join(filter(None, about))


def _as_json(found: Report, damaged: list[DamagedRecord], root: Path, list_cache: ListCache) -> AuditOut:
    old, corrupt = found.old, found.corrupt
    return AuditOut(
        old_count=len(old),
        current_count=len(found.findings) - len(old),
        corrupt_count=len(corrupt),
        unread_count=found.unread,
        reclaimable=ReclaimableOut(
            models_bytes=found.free_bytes(old),
            corrupt_bytes=found.free_bytes(finding for finding in corrupt if not finding.is_old),
            partials_bytes=found.unwritten_bytes,
            trash_bytes=found.trash_bytes,
        ),
        models=[
            _finding(finding, found.blockers.get(finding.model.name, []), root, list_cache)
            for finding in found.findings
        ],
        partials=[_partial(partial) for partial in found.partials],
        warnings=[DamagedRecordOut.model_validate(each) for each in damaged],
    )


def _finding(finding: Finding, blockers: list[Blocker], root: Path, list_cache: ListCache) -> FindingOut:
    remarks: dict[Remark, bool] = {
        "not_recognised": list_cache.describe(finding.model).recognised is False,
        "looks_like_another": bool(finding.looks_like),
        "misnamed": bool(finding.misnamed),
    }
    return FindingOut(
        name=finding.model.name,
        path=f"{root}/{finding.model.name}",
        size_bytes=finding.model.size_bytes,
        status=finding.status,
        reasons=list(finding.reasons),
        stale_pattern=finding.stale_pattern,
        hints=list(finding.hints),
        superseded_by=finding.superseded_by,
        needed=finding.is_needed,
        corrupt=finding.corrupt,
        remarks=[remark for remark, applies in remarks.items() if applies],
        looks_like=list(finding.looks_like),
        misnamed=finding.misnamed,
        protected_by=protection_out(finding.protection),
        blockers=[BlockerOut.model_validate(blocker) for blocker in blockers],
    )


def _partial(partial: Partial) -> PartialOut:
    return PartialOut(
        id=partial.id,
        name=partial.name,
        size_bytes=partial.size_bytes,
        age_seconds=max(0.0, round((datetime.now(UTC) - partial.modified_at).total_seconds(), 3)),
        active=partial.is_active,
        expires_at=partial.expires_at,
    )
