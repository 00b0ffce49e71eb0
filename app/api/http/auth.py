"""Who may call: each route declares the scope it needs, and enforces what it declares. Without keys anybody may."""

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute

from app.api.http.keys import Keyring, Scope
from app.api.http.request_errors import MissingScope, ServiceReadOnly, Unauthenticated

SECURITY_SCHEME = {
    "api_key": {
        "type": "http",
        "scheme": "bearer",
        "description": "One of the keys of `OCR_API_KEYS_FILE`. A service that has no such file asks nobody for a key.",
    }
}

PUBLIC: dict[str, Any] = {"security": []}
"""`openapi_extra` of a route that anybody may call."""


def needs(scope: Scope) -> dict[str, Any]:
    """`openapi_extra` of a route that takes a key with that scope."""
    return {"security": [{"api_key": [scope.value]}]}


def is_change(method: str, scope: Scope) -> bool:
    """Whether a read-only service refuses it. Texts and images change nothing; to cancel a job that reads them does."""
    return scope in {Scope.WRITE, Scope.ENGINE} or method == "DELETE"


class Access:
    """The rules of one service: its keys, and whether it may change anything."""

    def __init__(self, keyring: Keyring | None, *, read_only: bool) -> None:
        self.read_only = read_only
        self._keyring = keyring

    def check(self, request: Request, scope: Scope) -> None:
        """Let a request pass, noting its key for the log; raises Unauthenticated, MissingScope, ServiceReadOnly."""
        if self._keyring:
            request.scope["key_name"] = self._authorise(self._keyring, request, scope)
        if self.read_only and is_change(request.method, scope):
            raise ServiceReadOnly

    def _authorise(self, keyring: Keyring, request: Request, scope: Scope) -> str:
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
    """A route that checks the scope which its own entry in the OpenAPI document names.

    A FastAPI dependency would do the same, and its resolution costs a list request a third of its time. A route that
    declares neither a scope nor PUBLIC cannot be made.
    """

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, behind the check."""
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
        """FastAPI's own handler."""
        return super().get_route_handler()
