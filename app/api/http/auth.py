"""Authorisation: each route declares the scope it needs, and checks it. Without keys, every caller is allowed."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.http.keys import Keyring, Scope, StatedScope
from app.api.http.request_errors import MissingScope, ServiceReadOnly, Unauthenticated

SECURITY_SCHEME = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of the keys of `OCR_API_KEYS_FILE`. A service without that file needs no key.",
    }
}

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
        """Check a request against the scope of its route, and put its key's name into the request's scope for the log.

        Raises Unauthenticated, MissingScope and ServiceReadOnly.
        """
        if self._keyring:
            request.scope["key_name"] = self._authorise(self._keyring, request, scope)
        if self.read_only and scope.is_change(request.method):
            raise ServiceReadOnly

    def _authorise(self, keyring: Keyring, request: Request, scope: StatedScope) -> str:
        kind, _, token = request.headers.get("authorization", "").partition(" ")
        if kind.lower() != "bearer" or not token:
            raise Unauthenticated.missing()
        key = keyring.find(token)
        if key is None:
            raise Unauthenticated.unknown()
        if scope not in key.scopes:
            raise MissingScope(key.name, scope)
        return key.name


class GuardedRoute(APIRoute):
    """A route that checks the scope which its entry in the OpenAPI document names.

    It is no FastAPI dependency, because resolving one takes a third of the time of a list request. A route that
    declares neither a scope nor PUBLIC cannot be constructed.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Return the handler, with the check of the scope before it."""
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
        """Return FastAPI's own handler, without the check."""
        return super().get_route_handler()
