"""Who may call: each operation names the scope it needs, and without keys everybody has them all."""

from typing import Annotated, Any

from fastapi import Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.keys import Keyring, Scope
from app.api.refusals import MissingScope, ServiceReadOnly, Unauthenticated

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="api_key",
    description="One of the keys of `OCR_API_KEYS_FILE`. A service that has no such file asks nobody for a key.",
)


class Access:
    """The rules of one service: its keys, and whether it may change anything."""

    def __init__(self, keyring: Keyring | None, *, read_only: bool) -> None:
        self._keyring = keyring
        self._read_only = read_only

    def check(self, token: str | None, scope: Scope) -> str | None:
        """Let a call pass, naming the key that made it; raises Unauthenticated, MissingScope, ServiceReadOnly."""
        name = self._authorise(self._keyring, token, scope) if self._keyring else None
        if self._read_only and scope is not Scope.READ:
            raise ServiceReadOnly
        return name

    def _authorise(self, keyring: Keyring, token: str | None, scope: Scope) -> str:
        if token is None:
            raise Unauthenticated.missing()
        key = keyring.find(token)
        if key is None:
            raise Unauthenticated.unknown()
        if scope not in key.scopes:
            raise MissingScope(key.name, scope)
        return key.name


def requires(scope: Scope) -> Any:  # noqa: ANN401 - FastAPI's own return type
    """The dependency of an operation that needs a scope; the OpenAPI document names the scope too."""

    async def check(request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]) -> None:
        access: Access = request.state.access
        request.scope["key_name"] = access.check(sent.credentials if sent else None, scope)

    return Security(check, scopes=[scope.value])
