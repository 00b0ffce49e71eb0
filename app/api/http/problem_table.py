"""Which problem each exception is on the wire: its status, its stable type, and what of it is shown."""

from app.api.http.problem_types import EXAMPLE_ID, TYPE_PREFIX, Problem, ProblemType
from app.api.http.problems_of_engine import OF_ENGINE
from app.api.http.problems_of_requests import OF_REQUESTS
from app.api.http.problems_of_store import NAME, OF_STORE

__all__ = ["CRASH", "EXAMPLE_ID", "INTERNAL_ERROR", "NAME", "PROBLEM_TYPES", "TYPE_PREFIX", "Problem", "ProblemType"]

CRASH = Exception("The service failed; that is a defect. Report it with the request_id, which the log has too.")
INTERNAL_ERROR = ProblemType(CRASH, 500, "internal-error", "Internal error")
PROBLEM_TYPES: dict[type[Exception], ProblemType] = {
    type(kind.sample): kind for kind in (*OF_STORE, *OF_ENGINE, *OF_REQUESTS)
}
"""The whole mapping. A domain error that is missing here is a 500, and a test fails."""
