"""`/prune`: the deletion of what is old or corrupt, as planned."""

from typing import Annotated, Literal

from anyio import to_thread
from fastapi import APIRouter, Response
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, model_validator

from app import errors
from app.api.http import threads
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import ActorDep, StoreDep, WatcherDep
from app.api.http.keys import Scope
from app.api.http.problem_table import PROBLEM_TYPES
from app.api.http.problems import problems
from app.api.http.request_errors import PlanChanged
from app.api.maintenance.schemas import PrunedOut, PruneOut, ReasonOut
from app.store.audit.audit import Finding, Outcome, PrunePlan, Reason, execute, plan_prune
from app.store.audit.report import judge

router = APIRouter(tags=["upkeep"], route_class=GuardedRoute)


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
    plan_id: Annotated[str, Field(max_length=128)] | None = None
    """The plan to execute, as the dry run gave it."""
    reasons: list[ReasonOut] = ["stale_pattern", "superseded"]
    """Which models: those for which one of these speaks. What is corrupt goes only when that is asked for."""
    permanent: bool = False
    """Past the trash."""

    @model_validator(mode="after")
    def _executes_a_plan(self) -> "PruneBody":
        if not self.dry_run and self.plan_id is None:
            raise ValueError("to execute, name the plan_id that a dry run of the same request gave")
        return self


@router.post(
    "/prune",
    summary="Delete what is old or corrupt, as planned",
    response_description="The plan, or what became of every model of it.",
    response_model=PruneOut,
    responses={
        207: {"description": "Some models of the plan stayed; each says why.", "model": PruneOut},
        **problems(errors.StoreUnavailable, *errors.UNWRITABLE, PlanChanged, RequestValidationError),
    },
    openapi_extra=needs(Scope.WRITE),
)
async def prune(body: PruneBody, store: StoreDep, watcher: WatcherDep, actor: ActorDep, response: Response) -> PruneOut:
    """Plan the deletion of the old models that are not protected, or execute exactly that plan.

    The first call is a dry run and gives the models, the bytes and a `plan_id`. The second sends the same request with
    that id and `dry_run` false. If a model came, changed or went meanwhile, it is another plan, and the answer is 409.
    Every model is checked again under its lock; one that cannot go stops no other, and then the answer is 207.
    """
    await watcher.scan()  # not even a second old: what is planned here is deleted
    inventory = watcher.current()
    reasons = [Reason(reason) for reason in body.reasons]
    findings, _ = await to_thread.run_sync(judge, store, inventory, limiter=threads.audits)
    plan = plan_prune(findings, reasons, permanent=body.permanent)
    if body.dry_run:
        return _answer(plan, [_planned(finding) for finding in plan.findings], dry_run=True)
    if body.plan_id != plan.id:
        raise PlanChanged(str(body.plan_id))
    outcomes = await to_thread.run_sync(execute, plan, store, actor, limiter=threads.changes)
    for outcome in outcomes:
        if outcome.receipt:
            watcher.forget(outcome.receipt.name)
    if any(outcome.error for outcome in outcomes):
        response.status_code = 207
    return _answer(plan, [_outcome(outcome) for outcome in outcomes], dry_run=False)


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
        problem=PROBLEM_TYPES[type(error)].slug if error else None,
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
