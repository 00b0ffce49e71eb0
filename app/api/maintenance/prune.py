"""`/prune`: plan the deletion of old or corrupt models, and execute that plan."""

from typing import Annotated

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
from app.api.http.schema import InlineEnum
from app.api.maintenance.schemas import PrunedOut, PruneOut
from app.store import Hint, PruneOutcome, PrunePlan, Reason
from app.store.audit.findings import plan_prune

router = APIRouter(tags=["upkeep"], route_class=GuardedRoute)


class PruneIn(BaseModel):
    """A prune: a dry run, or the execution of its plan."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        use_attribute_docstrings=True,
        json_schema_extra={"examples": [{"dry_run": True, "reasons": ["stale_pattern"]}]},
    )

    dry_run: bool = True
    """True to plan only. To execute the plan, send its `plan_id` with `false`."""
    plan_id: Annotated[str, Field(max_length=128)] | None = None
    """The plan to execute: the `plan_id` that the dry run returned."""
    reasons: list[InlineEnum[Reason]] = [Reason.STALE_PATTERN, Reason.SUPERSEDED]
    """Prune the models that have at least one of these reasons. The default is every reason except `corrupt`."""
    include: list[InlineEnum[Hint]] = []
    """Also prune the models that have one of these hints: with `superseded`, every model that has a version with a
    higher number in the same folder. Look at the plan first, because two versions may serve two purposes."""
    permanent: bool = False
    """Delete permanently instead of moving to the trash. Cannot be undone."""

    @model_validator(mode="after")
    def _executes_a_plan(self) -> "PruneIn":
        if not self.dry_run and self.plan_id is None:
            raise ValueError("to execute a plan, send the plan_id that a dry run of the same request returned")
        return self


@router.post(
    "/prune",
    summary="Prune models",
    response_description="The plan, or the result for each of its models.",
    response_model=PruneOut,
    responses={
        207: {"description": "Some models of the plan could not be deleted; each has the reason.", "model": PruneOut},
        **problems(errors.StoreUnavailable, *errors.UNWRITABLE, PlanChanged, RequestValidationError),
    },
    openapi_extra=needs(Scope.WRITE),
)
async def prune_models(
    body: PruneIn, store: StoreDep, watcher: WatcherDep, actor: ActorDep, response: Response
) -> PruneOut:
    """Plan the deletion of old models that are not protected, or execute that plan.

    First send a dry run: it returns the models, the bytes and a `plan_id`. Then send the same request again with that
    `plan_id` and with `dry_run` false. If a model was added, changed or removed meanwhile, the plan is outdated and the
    answer is 409. Each model is checked again under its lock. If some models cannot be deleted, the other models are
    deleted, and the answer is 207.
    """
    await watcher.scan()  # The watcher's inventory may be a second old, and a plan of deletions needs a fresh one.
    inventory = watcher.current()
    findings, _ = await to_thread.run_sync(store.audits.judge, inventory, limiter=threads.audits)
    plan = plan_prune(findings, body.reasons, permanent=body.permanent, include=body.include)
    if body.dry_run:
        return _answer(plan, [PruneOutcome(finding) for finding in plan.findings], dry_run=True)
    if body.plan_id != plan.id:
        raise PlanChanged(str(body.plan_id))
    outcomes = await to_thread.run_sync(store.audits.execute, plan, actor, limiter=threads.changes)
    for outcome in outcomes:
        if outcome.receipt:
            watcher.remove(outcome.receipt.name)
    if any(outcome.error for outcome in outcomes):
        response.status_code = 207
    return _answer(plan, outcomes, dry_run=False)


def _answer(plan: PrunePlan, outcomes: list[PruneOutcome], *, dry_run: bool) -> PruneOut:
    models = [_pruned(outcome) for outcome in outcomes]
    return PruneOut(
        plan_id=plan.id,
        dry_run=dry_run,
        complete=not any(outcome.error for outcome in outcomes),
        count=len(models),
        total_size_bytes=sum(model.size_bytes for model in models),
        freed_bytes=sum(model.freed_bytes for model in models),
        models=models,
    )


def _pruned(outcome: PruneOutcome) -> PrunedOut:
    model, receipt, error = outcome.finding.model, outcome.receipt, outcome.error
    return PrunedOut(
        name=model.name,
        size_bytes=model.size_bytes,
        reasons=list(outcome.finding.reasons),
        hints=list(outcome.finding.hints),
        outcome=outcome.result,
        problem=PROBLEM_TYPES[type(error)].slug if error else None,
        detail=str(error) if error else None,
        trash_id=receipt.trash_id if receipt else None,
        freed_bytes=receipt.freed_bytes if receipt else 0,
    )
