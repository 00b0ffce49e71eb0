"""Who may call: each operation names the scope it needs, and without keys everybody has them all."""

from typing import Annotated, Any

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from app.api.keys import Keyring, Scope
from app.api.problems import MissingScope, ServiceReadOnly, Unauthenticated

REALM = 'Bearer realm="ocr-model-service"'

bearer = HTTPBearer(
    auto_error=False,
    scheme_name="API key",
    description="A key of `OCR_API_KEYS_FILE`. A service without that file listens on loopback only, and needs none.",
)


class Access:
    """The rules of one service: its keys, and whether it may change anything."""

    def __init__(self, keyring: Keyring | None, *, read_only: bool) -> None:
        self._keyring = keyring
        self._read_only = read_only

    def check(self, token: str | None, scope: Scope) -> str | None:
        """Let a call pass, naming the key that made it; raises Unauthenticated, MissingScope, ServiceReadOnly."""
        name = self._authorise(token, scope) if self._keyring else None
        if self._read_only and scope is not Scope.READ:
            raise ServiceReadOnly
        return name

    def _authorise(self, token: str | None, scope: Scope) -> str:
        assert self._keyring is not None  # noqa: S101 - check() asked
        if token is None:
            raise Unauthenticated("This operation needs an API key: send 'Authorization: Bearer <key>'.", REALM)
        key = self._keyring.find(token)
        if key is None:
            raise Unauthenticated("This API key is not known here.", f'{REALM}, error="invalid_token"')
        if scope not in key.scopes:
            raise MissingScope(key.name, scope, f'{REALM}, error="insufficient_scope", scope="{scope}"')
        return key.name


def requires(scope: Scope) -> Any:  # noqa: ANN401 - FastAPI's own return type
    """The dependency of an operation that needs a scope."""

    async def check(request: Request, sent: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)]) -> None:
        access: Access = request.state.access
        request.scope["key_name"] = access.check(sent.credentials if sent else None, scope)

    return Depends(check)
