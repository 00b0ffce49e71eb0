"""Options in the fields of a form, beside its file. They have the same names and values as in the query."""

from collections.abc import Mapping
from typing import TypeVar

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ValidationError

from app.api.http.checks.request_checks import say_unknown

Options = TypeVar("Options", bound=BaseModel)
MAX_SHOWN_CHARS = 100


def unknown_option(name: str, known: frozenset[str]) -> RequestValidationError:
    """Return the error for a form field that is not an option. It names the most similar option."""
    if not name:
        return RequestValidationError(
            [{"loc": ("body",), "msg": "a part has no name; an image belongs in a field 'file'"}]
        )
    said = say_unknown(name, sorted(known), "option")
    stop = "" if said.endswith("?") else "."
    return _refusal("body", name, f"{said}{stop} The image belongs in a field 'file'")


def repeated_option(name: str) -> RequestValidationError:
    """Return the error for a form that has an option twice."""
    return _refusal("body", name, "it is given more than once")


def with_form_fields(options: Options, query: Mapping[str, str], fields: Mapping[str, str]) -> Options:
    """Return the options of the query and of the form together.

    `query` and `fields` are the values as the caller sent them. Raises RequestValidationError if a value is wrong, or
    if the query and the form give an option different values.
    """
    for name in fields.keys() & query.keys():
        if fields[name] != query[name]:
            shown = query[name][:MAX_SHOWN_CHARS]
            raise _refusal("body", name, f"the query has another value, {shown!r}; give the option in one place")
    if not fields:
        return options
    try:
        return type(options).model_validate({**query, **fields})
    except ValidationError as exc:
        raise RequestValidationError(
            [
                {**error, "loc": ("body" if error["loc"][:1] and error["loc"][0] in fields else "query", *error["loc"])}
                for error in exc.errors(include_url=False)
            ]
        ) from exc


def _refusal(where: str, name: str, message: str) -> RequestValidationError:
    return RequestValidationError([{"loc": (where, name[:MAX_SHOWN_CHARS]), "msg": message}])
