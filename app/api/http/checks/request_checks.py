"""Refuses requests with parameters, conditions or a body that the route would ignore but the caller may rely on.

Headers that HTTP lets a server ignore are not refused: Range, If-Range, If-Modified-Since, Want-Repr-Digest, Prefer.
"""

import difflib
import re
from collections.abc import Iterator
from types import NoneType
from typing import Any, get_args

from fastapi import Request
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import BaseModel
from starlette.requests import ClientDisconnect

from app.api.http.checks.body_streams import is_body_streamed
from app.api.http.header_fields import JSON, coding_of, malformed, media_type_of
from app.api.http.request_errors import BodyCutShort, ExpectationFailed, PartialBody, UnsupportedBody

SAFE_METHODS = {"GET", "HEAD", "OPTIONS"}
CONDITIONS = {"if-match", "if-none-match", "if-unmodified-since"}
"""Conditions that a change must not ignore."""
OVERRIDES = {"x-http-method-override", "x-http-method", "x-method-override"}
"""Headers that ask the server to use another method than the request's. Below `/uploads` the first one is obeyed, for
tus."""
DIGESTS = {"repr-digest", "content-digest", "digest", "content-md5", "upload-checksum"}
"""Digests that a caller may announce in `Trailer`. Trailers are not read, so such a digest would not be checked."""
WATCHED = frozenset(
    name.encode() for name in (*CONDITIONS, *OVERRIDES, "content-encoding", "content-range", "content-length", "expect")
) | {b"transfer-encoding"}
NOTHING = (b"", b"{}", b"null")
"""Bodies that count as empty: some clients send them to operations without a body."""
MAX_SHOWN_CHARS = 100
WHOLE = "a whole number"
DIGITS = re.compile(r"-?[0-9]+", re.ASCII)
"""Matches a whole number in a query. pydantic would also accept `1_0` and `1.0`, which other programs refuse or read as
another number."""


class RequestChecks:
    """The checks of one route, made before its parameters are parsed."""

    def __init__(self, route: APIRoute) -> None:
        """Read from the route which parameters, conditions and body the route takes."""
        documented = (route.openapi_extra or {}).get("parameters", [])
        headers = {name.lower() for name, _ in _fields(route.dependant, "header_params")}
        headers |= {each["name"].lower() for each in documented if each["in"] == "header"}
        query = dict(_fields(route.dependant, "query_params"))
        self.parameters = sorted(query)
        """The names of the parameters that the route takes in the query."""
        self._whole_numbers = frozenset(name for name, annotation in query.items() if _is_whole_number(annotation))
        self._ignored_conditions = CONDITIONS - headers
        self._ignored_overrides = OVERRIDES - (
            {"x-http-method-override"} if route.path.startswith("/uploads") else set()
        )
        self._takes_if_match = "if-match" in headers
        self._is_json = route.body_field is not None
        self._takes_body = self._is_json or is_body_streamed(route.endpoint)
        self.body_model = route.body_field.field_info.annotation if route.body_field else None
        """The class of the JSON body; None without one."""

    async def check(self, request: Request) -> None:
        """Refuse a request with a part that the route would ignore.

        Raises RequestValidationError, UnsupportedBody, PartialBody, ExpectationFailed and BodyCutShort.
        """
        if request.scope["query_string"]:
            self._check_query(request)
        if WATCHED.isdisjoint(name for name, _ in request.scope["headers"]):
            return  # true of nearly every GET
        for name in self._ignored_overrides:
            if name in request.headers:
                raise malformed(name, "this path takes no method from a header; send the request with that method")
        if request.method not in SAFE_METHODS:
            if any(each.lower() != "100-continue" for each in _listed(request, "expect")):
                raise ExpectationFailed
            self._check_conditions(request)
            await self._check_body(request)

    def _check_query(self, request: Request) -> None:
        names = [name for name, _ in request.query_params.multi_items()]
        wrong = [
            _at("query", name, f"must be {WHOLE}, in digits only")
            for name in self._whole_numbers.intersection(names)
            if not DIGITS.fullmatch(request.query_params[name])
        ]
        for name in dict.fromkeys(names):
            if name not in self.parameters:
                wrong.append(_at("query", name, self._say_unknown(name)))
            elif names.count(name) > 1:
                wrong.append(_at("query", name, "it is given more than once"))
        if wrong:
            raise RequestValidationError(wrong)

    def _say_unknown(self, name: str) -> str:
        said = say_unknown(name, self.parameters, "parameter")
        model = self.body_model
        is_in_body = isinstance(model, type) and issubclass(model, BaseModel) and name in model.model_fields
        return f"it belongs in the JSON body, not the query; {said}" if is_in_body else said

    def _check_conditions(self, request: Request) -> None:
        for name in self._ignored_conditions:
            if name in request.headers:
                advice = "send If-Match with the model's etag" if self._takes_if_match else "leave it out"
                raise malformed(name, f"this operation does not check this condition; {advice}")

    async def _check_body(self, request: Request) -> None:
        if not has_body(request):
            return
        if "content-range" in request.headers:
            raise PartialBody
        for name in DIGESTS.intersection(each.lower() for each in _listed(request, "trailer")):
            raise malformed("trailer", f"trailers are not read; send {name} as a header")
        if not self._takes_body:
            await self._refuse_body(request)
        elif (coding := coding_of(request)) is not None:
            raise UnsupportedBody.encoded(coding)
        elif any(coding.lower() not in ("chunked", "") for coding in _listed(request, "transfer-encoding")):
            raise UnsupportedBody("in a transfer coding other than 'chunked'", "Send it unencoded.")
        elif self._is_json and not _is_json(media_type := media_type_of(request)):
            raise UnsupportedBody(f"of the type {media_type or 'none'}", f"Send JSON, with Content-Type: {JSON}.")

    async def _refuse_body(self, request: Request) -> None:
        try:
            body = await request.body()
        except ClientDisconnect:
            raise BodyCutShort from None
        if body.strip() not in NOTHING:
            advice = f"; its parameters belong in the query: {', '.join(self.parameters)}" if self.parameters else ""
            raise RequestValidationError([_at("body", None, f"this operation takes no body{advice}")])


def has_body(request: Request) -> bool:
    """True if the headers of the request announce a body."""
    return "transfer-encoding" in request.headers or request.headers.get("content-length", "0").strip("0") != ""


def say_unknown(name: str, known: list[str], what: str) -> str:
    """Return the sentence about an unknown name. It names the most similar known name, or all known names."""
    if close := difflib.get_close_matches(name[:MAX_SHOWN_CHARS].lower(), known, n=1):
        return f"there is no such {what}; did you mean {close[0]!r}?"
    return f"there is no such {what}; there are: {', '.join(known)}" if known else f"this operation has no {what}s"


def _fields(dependant: Dependant, kind: str) -> Iterator[tuple[str, object]]:
    """Yield name and type of each parameter of a kind (such as `query`) of a route's function and its dependencies."""
    for field in getattr(dependant, kind):
        annotation = field.field_info.annotation
        if isinstance(annotation, type) and issubclass(annotation, BaseModel):
            yield from ((about.alias or name, about.annotation) for name, about in annotation.model_fields.items())
        else:
            yield field.alias, annotation
    for each in dependant.dependencies:
        yield from _fields(each, kind)


def _is_whole_number(annotation: object) -> bool:
    """Return whether a type is `int`, perhaps with limits, or `int` and None."""
    parts = [each for each in get_args(annotation) if isinstance(each, type) or get_args(each)]
    return annotation is int or (bool(parts) and all(each is NoneType or _is_whole_number(each) for each in parts))


def _listed(request: Request, field: str) -> list[str]:
    return [each.strip() for value in request.headers.getlist(field) for each in value.split(",")]


def _is_json(media_type: str) -> bool:
    return media_type == JSON or (media_type.startswith("application/") and media_type.endswith("+json"))


def _at(where: str, name: str | None, message: str) -> dict[str, Any]:
    return {"loc": (where,) if name is None else (where, name[:MAX_SHOWN_CHARS]), "msg": message}
