"""The problems in the OpenAPI document: each problem type once, as an example, and each set of them once.

An operation lists the statuses of the problems that are its own. What can answer any request, such as 431 to a request
with too many headers, is in its `default` response.
"""

from collections.abc import Iterable
from typing import Any

from fastapi.exceptions import RequestValidationError

from app.api.examples.ids import REQUEST_ID
from app.api.http.auth import LENIENT
from app.api.http.connections.errors import (
    BodyTimedOut,
    HeadTimedOut,
    HeadTooLarge,
    InvalidHttp,
    OutOfResources,
    ShuttingDown,
    TooManyConnections,
)
from app.api.http.keys import Scope
from app.api.http.middleware import PROBES
from app.api.http.problem_table import EXAMPLE_NAME, INTERNAL_ERROR, PROBLEM_TYPES
from app.api.http.problem_types import ProblemType
from app.api.http.problems import PROBLEM_HEADERS, PROBLEM_MEDIA_TYPE
from app.api.http.request_errors import (
    BodyTooLarge,
    CrossOrigin,
    ExpectationFailed,
    MissingScope,
    PartialBody,
    ServiceReadOnly,
    Unauthenticated,
    UnsupportedBody,
    WrongHost,
)

SAFE_METHODS = {"get", "head", "options"}
OF_EVERY_REQUEST = (InvalidHttp, HeadTimedOut, HeadTooLarge)
OF_LIMITS = (BodyTimedOut, BodyTooLarge, OutOfResources, ShuttingDown, TooManyConnections, WrongHost)
"""The problems of requests that the limits apply to: all but those of probes."""
OF_CHANGES = (CrossOrigin, ExpectationFailed)
HEAD_PROBLEM = "HeadProblem"
"""The name of the response to a HEAD request, which has no body."""
INSTANCE = f"/models/{EXAMPLE_NAME}"
"""The path that the examples show."""
EXAMPLES, HEADERS, RESPONSES = "#/components/examples/", "#/components/headers/", "#/components/responses/"

Kinds = tuple[ProblemType, ...]
"""Problem types in the order of the problem table."""


class ProblemResponses:
    """Makes the problem responses of the operations of one document, and collects what they share."""

    def __init__(self, *, needs_key: bool) -> None:
        self._needs_key = needs_key
        self._order = {kind.slug: number for number, kind in enumerate((*PROBLEM_TYPES.values(), INTERNAL_ERROR))}
        self._names: dict[str, Kinds] = {}
        """The types of each response, by its name among the components."""
        self._has_head = False

    def of(self, path: str, method: str, scope: Scope | None, operation: dict[str, Any]) -> dict[str, Any]:
        """Return the problem responses of an operation by status, with `default` as the last."""
        if method == "head":
            self._has_head = True
            return {"default": {"$ref": RESPONSES + HEAD_PROBLEM}}
        common = self._common(path, method, scope)
        declared = [*self._declared(operation), *self._of_request(path, operation)]
        own = [kind for kind in declared if kind not in common]
        by_status: dict[str, Kinds] = {}
        for status in sorted({kind.status for kind in own}):
            by_status[str(status)] = self._sorted(kind for kind in own if kind.status == status)
        responses = {status: self._ref(self._name(kinds), kinds) for status, kinds in by_status.items()}
        return responses | {"default": self._ref(_name_of_default(path, method, scope), self._sorted(common))}

    def add_to(self, components: dict[str, Any]) -> None:
        """Add the responses, and the examples and headers that they refer to, to the document's components."""
        shared = components.setdefault("responses", {})
        kinds = self._sorted(kind for each in self._names.values() for kind in each)
        for name, own in sorted(self._names.items()):
            shared[name] = _response(own)
        if self._has_head:
            shared[HEAD_PROBLEM] = {
                "description": "The status and the headers of the problem with which GET would answer, without a body.",
                "headers": {name: {"$ref": HEADERS + name} for name in _headers_of(kinds)},
            }
        components["headers"] |= {name: PROBLEM_HEADERS[name] for name in PROBLEM_HEADERS if name in _headers_of(kinds)}
        components["examples"] = {
            kind.slug: {"value": kind.describe(kind.sample, INSTANCE, REQUEST_ID).model_dump(mode="json")}
            for kind in kinds
        }

    def _sorted(self, kinds: Iterable[ProblemType]) -> Kinds:
        by_slug = {kind.slug: kind for kind in kinds}
        return tuple(sorted(by_slug.values(), key=lambda kind: self._order[kind.slug]))

    def _ref(self, name: str, kinds: Kinds) -> dict[str, str]:
        self._names[name] = kinds
        return {"$ref": RESPONSES + name}

    def _name(self, kinds: Kinds) -> str:
        """Return a response's name: the slug of its only type, or its status and a number."""
        if len(kinds) == 1:
            return kinds[0].slug
        number = 1
        while self._names.get(name := f"{kinds[0].status}-{number}", kinds) != kinds:
            number += 1
        return name

    def _declared(self, operation: dict[str, Any]) -> list[ProblemType]:
        """Return the problem types that an operation's route declares, found by the names of their examples."""
        slugs = [
            slug
            for response in operation["responses"].values()
            for slug in response.get("content", {}).get(PROBLEM_MEDIA_TYPE, {}).get("examples", {})
        ]
        return [kind for kind in PROBLEM_TYPES.values() if kind.slug in slugs]

    def _of_request(self, path: str, operation: dict[str, Any]) -> list[ProblemType]:
        """Return the problem types that follow from what an operation takes: parameters and a body."""
        found: list[type[Exception]] = []
        if path not in LENIENT:
            found.append(RequestValidationError)
        if "requestBody" in operation:
            found += [UnsupportedBody, PartialBody]
        return [PROBLEM_TYPES[exception] for exception in found]

    def _common(self, path: str, method: str, scope: Scope | None) -> list[ProblemType]:
        """Return the problem types that any request with this method can get, with a key or without."""
        found: list[type[Exception]] = [*OF_EVERY_REQUEST]
        if path not in PROBES:
            found += OF_LIMITS
        if method not in SAFE_METHODS:
            found += OF_CHANGES
        if self._needs_key and scope:
            found += [Unauthenticated, MissingScope]
        if scope and scope.is_change(method.upper()):
            found.append(ServiceReadOnly)
        return [*(PROBLEM_TYPES[exception] for exception in found), INTERNAL_ERROR]


def _name_of_default(path: str, method: str, scope: Scope | None) -> str:
    if path in PROBES:
        return "AnyProbe"
    kind = "Read" if method in SAFE_METHODS else "Change"
    if scope and method not in SAFE_METHODS and not scope.is_change(method.upper()):
        kind = "Use"
    return f"Any{kind}" if scope else f"AnyPublic{kind}"


def _headers_of(kinds: Kinds) -> list[str]:
    return sorted({name for kind in kinds for name in kind.headers_for(kind.sample)})


def _response(kinds: Kinds) -> dict[str, Any]:
    headers = {name: {"$ref": HEADERS + name} for name in _headers_of(kinds)}
    return {
        "description": "; ".join(kind.title for kind in kinds) + ".",
        **({"headers": headers} if headers else {}),
        "content": {
            PROBLEM_MEDIA_TYPE: {
                "schema": {"$ref": "#/components/schemas/Problem"},
                "examples": {kind.slug: {"$ref": EXAMPLES + kind.slug} for kind in kinds},
            }
        },
    }
