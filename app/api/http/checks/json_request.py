"""Refuses JSON bodies with a duplicate name: Python's parser would use the last value and ignore the others."""

import json
from typing import Any

from fastapi import Request
from fastapi.exceptions import RequestValidationError


class JsonRequest(Request):
    """A request that refuses JSON with a duplicate name (RFC 8259 recommends unique names), or with NaN or infinity."""

    _parsed: Any = None

    async def json(self) -> Any:  # noqa: ANN401 - as in the class that this one extends
        """Return the parsed body. Raises what `parsed_json` raises."""
        if self._parsed is None:
            self._parsed = parsed_json(await self.body())
        return self._parsed


def parsed_json(body: bytes) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text. Raises JSONDecodeError, UnicodeDecodeError and RequestValidationError."""
    try:
        return json.loads(body, object_pairs_hook=_unique, parse_constant=_refuse)
    except (json.JSONDecodeError, UnicodeDecodeError):
        raise
    except RecursionError:
        raise RequestValidationError([{"loc": ("body",), "msg": "it is nested too deeply"}]) from None
    except ValueError:  # Python's limit of the digits of a whole number
        raise RequestValidationError([{"loc": ("body",), "msg": "a number in it has too many digits"}]) from None


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise RequestValidationError([{"loc": ("body", name), "msg": "it is given more than once"}])
        found[name] = value
    return found


def _refuse(name: str) -> None:
    raise RequestValidationError([{"loc": ("body",), "msg": f"{name} is not a JSON value"}])
