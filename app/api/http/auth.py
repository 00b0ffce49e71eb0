"""Authorisation: each route declares the scope that a key needs, and checks the caller's key.

Without a file of keys, every call is allowed.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute

from app.api.http.checks.json_request import JsonRequest
from app.api.http.checks.request_checks import RequestChecks
from app.api.http.checks.validation_messages import explained
from app.api.http.keys import Key, Keyring, Scope, StatedScope
from app.api.http.request_errors import MissingScope, ServiceReadOnly, Unauthenticated
from app.engine.queue import CALLER

SECURITY_SCHEME = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of the keys of `OCR_API_KEYS_FILE`. A service without that file needs no key.",
    }
}

LENIENT = {"/livez"}
"""Paths whose query and body are ignored and never refused, so that a misspelt probe of an orchestrator does not
restart the service."""
PUBLIC: dict[str, Any] = {"security": []}
"""`openapi_extra` of a route that needs no key."""


def needs(scope: Scope) -> dict[str, Any]:
    """Return the `openapi_extra` of a route that needs a key with this scope."""
    return {"security": [{"api_key": [scope.value]}]}


class Access:
    """The access rules of one service: its keys, and whether it is read-only."""

    def __init__(self, keyring: Keyring | None, *, read_only: bool) -> None:
        self.read_only = read_only
        self._keyring = keyring

    def check(self, request: Request, scope: StatedScope) -> None:
        """Check that the request's API key has the scope of the route, and store the key's name for the log.

        Raises Unauthenticated, MissingScope and ServiceReadOnly.
        """
        if self._keyring:
            key = self._key_of(self._keyring, request)
            # Before the scope is checked: the log names the key of a refused request too.
            request.scope["key_name"] = key.name
            CALLER.set(key.name)
            if scope not in key.scopes:
                raise MissingScope(key.name, scope)
        if self.read_only and scope.is_change(request.method):
            raise ServiceReadOnly

    def _key_of(self, keyring: Keyring, request: Request) -> Key:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        token = token.strip(" ")  # RFC 9110 allows several blanks before the key
        if kind.lower() != "bearer" or not token:
            raise Unauthenticated.missing()
        key = keyring.find(token)
        if key is None:
            raise Unauthenticated.unknown()
        return key


class GuardedRoute(APIRoute):
    """A route that checks that the caller's key has the scope declared in its `openapi_extra`.

    The check is not a FastAPI dependency, because resolving a dependency takes a third of the time of a list request. A
    route that declares neither a scope nor PUBLIC cannot be constructed.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that checks the scope and then calls the route's own handler."""
        handle = self.unguarded_handler()
        security = (self.openapi_extra or {})["security"]
        if not security:
            return handle
        scope = Scope(security[0]["api_key"][0])

        async def guarded(request: Request) -> Response:
            request.state.access.check(request, scope)
            return await handle(request)

        return guarded

    def unguarded_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return a handler that refuses a request with parts that the route would ignore, else calls FastAPI's handler.

        This handler does not check the scope.
        """
        handle, checks = super().get_route_handler(), RequestChecks(self)
        if self.path in LENIENT:
            return handle

        async def checked(request: Request) -> Response:
            await checks.check(request)
            if checks.body_model:
                request = JsonRequest(request.scope, request.receive)
            try:
                return await handle(request)
            except RequestValidationError as exc:
                raise explained(exc, checks.body_model, checks.parameters) from None

        return checked
