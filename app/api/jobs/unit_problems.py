"""The problems of the units of jobs, and the errors that are not a unit's own."""

from fastapi.responses import JSONResponse, Response

from app.api.http.problem_types import Problem
from app.api.http.problems import PROBLEM_MEDIA_TYPE, ProblemContext
from app.errors import EngineBusy, EngineNotReady, LookupStale, ModelLocked, StateError, StoreReadOnly, StoreUnavailable
from app.jobs.units.unit_claims import Claim

NOT_NOW = (EngineNotReady, EngineBusy, StateError, StoreUnavailable, StoreReadOnly, LookupStale, ModelLocked)
"""The errors after which a unit is given back: the engine or a folder is not available; the unit is not at fault."""


def context_of(claim: Claim) -> ProblemContext:
    """Return the members of a unit's problem that come from the request that created its job."""
    return ProblemContext(claim.task.path, claim.job.created_by.request_id or "")


def unit_problem(problem: Problem) -> Response:
    """Return the answer to a request whose only unit has failed: the problem that it would have had without a job."""
    return JSONResponse(problem.model_dump(mode="json"), problem.status, media_type=PROBLEM_MEDIA_TYPE)
