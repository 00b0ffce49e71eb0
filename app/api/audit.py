"""`/audit`, `/prune` and `/storage`: what is old and why, its deletion as planned, and where the bytes are."""

from typing import Annotated, Any, Literal

from anyio import to_thread
from fastapi import APIRouter, Header, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, model_validator

from app import errors
from app.api.auth import GuardedRoute, needs
from app.api.deletion import changes
from app.api.deps import KeeperDep, OriginDep, StoreDep
from app.api.examples import FOLDER
from app.api.keys import Scope
from app.api.kinds import KINDS
from app.api.problems import problems
from app.api.refusals import PlanChanged
from app.api.schemas import protection_out
from app.api.upkeep_schemas import AuditOut, FindingOut, PrunedOut, PruneOut, StorageOut
from app.store.audit import Finding, Outcome, PrunePlan, Reason, audit, execute, plan_prune
from app.store.protections import Protection
from app.store.storage import measure
from app.store.store import Store

router = APIRouter(tags=["upkeep"], route_class=GuardedRoute)

TEXT = "text/plain"
EXAMPLE = f"OLD:     {FOLDER}/old_en_ocr_v1.bin  (matches old_*)\nCURRENT: {FOLDER}/en_ocr_v2.bin\n"
AS_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {TEXT: {"schema": {"type": "string", "examples": [EXAMPLE]}}}}
}


class PruneBody(BaseModel):
    """What to prune."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"dry_run": True, "reasons": ["stale_pattern"]}]},
    )

    dry_run: bool = True
    """Plan only. To execute, send the plan's id with `false`."""
    plan_id: str | None = None
    """The plan to execute, as the dry run gave it."""
    reasons: list[Literal["stale_pattern", "superseded"]] = ["stale_pattern", "superseded"]
    """Which old models: those that are old for one of these reasons."""
    permanent: bool = False
    """Past the trash."""

    @model_validator(mode="after")
    def _executes_a_plan(self) -> "PruneBody":
        if not self.dry_run and self.plan_id is None:
            raise ValueError("to execute, name the plan_id that a dry run of the same request gave")
        return self


@router.get(
    "/audit",
    summary="Say which models are old, and why",
    response_description="The report, as JSON or as text.",
    response_model=AuditOut,
    responses={**AS_TEXT, **problems(errors.StoreUnavailable)},
    openapi_extra=needs(Scope.READ),
)
async def get_audit(
    store: StoreDep,
    keeper: KeeperDep,
    accept: Annotated[str, Header(description="`text/plain` for lines to read and to grep.")] = "application/json",
) -> Any:  # noqa: ANN401 - a report or its text
    """Judge every model: old, with the reasons, or current; what is protected; and what deleting the old would free.

    A model is old when it matches a stale pattern, or when a newer version of the same name lies beside it. As text,
    each line begins with `OLD:` or `CURRENT:` and the path.
    """
    inventory = await keeper.current_when_scanned()
    findings = await to_thread.run_sync(audit, inventory, store.rules, store.protections)
    if accept.partition(",")[0].partition(";")[0].strip() == TEXT:
        return Response(_text(findings, store), media_type=TEXT)
    old = [finding for finding in findings if finding.is_old]
    return AuditOut(
        old_count=len(old),
        current_count=len(findings) - len(old),
        reclaimable_bytes=sum(finding.model.size_bytes for finding in old if finding.protection is None),
        models=[_finding(finding, store) for finding in findings],
    )


@router.post(
    "/prune",
    summary="Delete what is old, as planned",
    response_description="The plan, or what became of every model of it.",
    response_model=PruneOut,
    responses={
        207: {"description": "Some models of the plan stayed; each says why.", "model": PruneOut},
        **problems(errors.StoreUnavailable, errors.StoreReadOnly, PlanChanged, RequestValidationError),
    },
    openapi_extra=needs(Scope.WRITE),
)
async def prune(body: PruneBody, store: StoreDep, keeper: KeeperDep, origin: OriginDep, response: Response) -> PruneOut:
    """Plan the deletion of the old models that are not protected, or execute exactly that plan.

    The first call is a dry run and gives the models, the bytes and a `plan_id`. The second sends the same request with
    that id and `dry_run` false. If a model came, changed or went meanwhile, it is another plan, and the answer is 409.
    Every model is checked again under its lock; one that cannot go stops no other, and then the answer is 207.
    """
    await keeper.scan()  # not even a second old: what is planned here is deleted
    inventory = keeper.current()
    reasons = [Reason(reason) for reason in body.reasons]
    plan = plan_prune(
        await to_thread.run_sync(audit, inventory, store.rules, store.protections), reasons, permanent=body.permanent
    )
    if body.dry_run:
        return _answer(plan, [_planned(finding) for finding in plan.findings], dry_run=True)
    if body.plan_id != plan.id:
        raise PlanChanged(str(body.plan_id))
    outcomes = await to_thread.run_sync(execute, plan, store, origin, limiter=changes)
    for outcome in outcomes:
        if outcome.receipt:
            keeper.forget(outcome.receipt.name)
    if any(outcome.error for outcome in outcomes):
        response.status_code = 207
    return _answer(plan, [_outcome(outcome) for outcome in outcomes], dry_run=False)


@router.get(
    "/storage",
    summary="Say where the bytes are",
    response_description="The bytes of the model folder and its disk.",
    responses=problems(errors.StoreUnavailable),
    openapi_extra=needs(Scope.READ),
)
async def get_storage(store: StoreDep, keeper: KeeperDep) -> StorageOut:
    """Account for the bytes of the models, of the trash, of what is unfinished, and of what is free.

    It says which volume it is: one that is missing, or another than at the start, is 503 `store-unavailable`.
    """
    inventory = await keeper.current_when_scanned()
    return StorageOut.model_validate(await to_thread.run_sync(measure, store.volume, inventory))


def _text(findings: list[Finding], store: Store) -> str:
    lines = []
    for finding in findings:
        about = [f"matches {finding.stale_pattern}"] if finding.stale_pattern else []
        about += [f"superseded by {finding.superseded_by}"] if finding.superseded_by else []
        about += [_protection(finding.protection)] if finding.protection else []
        label = "OLD:" if finding.is_old else "CURRENT:"
        lines.append(f"{label:<8} {store.root}/{finding.model.name}" + (f"  ({'; '.join(about)})" if about else ""))
    return "".join(line + "\n" for line in lines)


def _protection(protection: Protection) -> str:
    if protection.pattern is None and (given := protection.given):
        return f"protected by {given.by}: {given.reason}"
    return f"protected by {protection.pattern}"


def _finding(finding: Finding, store: Store) -> FindingOut:
    return FindingOut(
        name=finding.model.name,
        path=f"{store.root}/{finding.model.name}",
        size_bytes=finding.model.size_bytes,
        status="old" if finding.is_old else "current",
        reasons=[reason.value for reason in finding.reasons],
        stale_pattern=finding.stale_pattern,
        superseded_by=finding.superseded_by,
        protected_by=protection_out(finding.protection),
    )


def _planned(finding: Finding) -> PrunedOut:
    return _pruned(finding, "planned", None, None, 0)


def _outcome(outcome: Outcome) -> PrunedOut:
    if outcome.receipt is None:
        return _pruned(outcome.finding, "stayed", outcome.error, None, 0)
    receipt = outcome.receipt
    done: Literal["trashed", "deleted"] = "trashed" if receipt.trash_id else "deleted"
    return _pruned(outcome.finding, done, None, receipt.trash_id, receipt.freed_bytes)


def _pruned(
    finding: Finding,
    outcome: Literal["planned", "trashed", "deleted", "stayed"],
    error: errors.StoreError | None,
    trash_id: str | None,
    freed_bytes: int,
) -> PrunedOut:
    return PrunedOut(
        name=finding.model.name,
        size_bytes=finding.model.size_bytes,
        reasons=[reason.value for reason in finding.reasons],
        outcome=outcome,
        problem=KINDS[type(error)].slug if error else None,
        detail=str(error) if error else None,
        trash_id=trash_id,
        freed_bytes=freed_bytes,
    )


def _answer(plan: PrunePlan, models: list[PrunedOut], *, dry_run: bool) -> PruneOut:
    return PruneOut(
        plan_id=plan.id,
        dry_run=dry_run,
        complete=all(model.outcome != "stayed" for model in models),
        count=len(models),
        total_size_bytes=sum(model.size_bytes for model in models),
        freed_bytes=sum(model.freed_bytes for model in models),
        models=models,
    )
