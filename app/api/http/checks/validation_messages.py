"""The sentences of `invalid-request`. pydantic's own sentences speak of Python and regular expressions."""

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel

from app.api.http.checks.request_checks import WHOLE, say_unknown

OBJECT = "must be a JSON object"
NUMBER, TEXT, TRUTH, LIST = "a number", "text", "true or false", "a list"
KINDS = {
    "int": WHOLE,
    "float": NUMBER,
    "finite": NUMBER,
    "string": TEXT,
    "bool": TRUTH,
    "list": LIST,
    "dict": "a JSON object",
    "model": "a JSON object",
}
"""What a value must be, in words. A key is the first part of a pydantic error type, such as `int` of `int_type`."""
UNION_MEMBERS = ("str", "none")
"""How pydantic names the members of the type `str | None`."""
VISIBLE_ASCII = r"^[!-~]+$"
FORMS = {VISIBLE_ASCII: "must have only visible ASCII characters, without spaces, such as a UUID"}
"""What a text must be, in words, by the pattern that it must match."""
SENTENCES: dict[str, Callable[[Mapping[str, Any]], str]] = {
    "missing": lambda _: "is required",
    "string_unicode": lambda _: "must be text without lone surrogates",
    "greater_than": lambda ctx: f"must be greater than {ctx['gt']}",
    "greater_than_equal": lambda ctx: f"must be at least {ctx['ge']}",
    "less_than": lambda ctx: f"must be less than {ctx['lt']}",
    "less_than_equal": lambda ctx: f"must be at most {ctx['le']}",
    "string_too_short": lambda ctx: f"must have at least {_counted(ctx['min_length'], 'character')}",
    "string_too_long": lambda ctx: f"must have at most {_counted(ctx['max_length'], 'character')}",
    "too_short": lambda ctx: f"must have at least {_counted(ctx['min_length'], 'item')}",
    "too_long": lambda ctx: f"must have at most {_counted(ctx['max_length'], 'item')}",
    "string_pattern_mismatch": lambda ctx: FORMS.get(ctx["pattern"], f"must match {ctx['pattern']}"),
    "json_invalid": lambda ctx: f"the body is not valid JSON: {ctx['error']} at this character",
}
"""For each error type of pydantic, a function that makes the sentence for the caller from the error's context."""


def explained(
    exc: RequestValidationError, body_model: object, parameters: Sequence[str] = ()
) -> RequestValidationError:
    """Return the error with sentences that say what is allowed.

    `body_model` is the class of the JSON body, or None; `parameters` are the names that the query may have.

    The messages of errors that this service itself has raised are already sentences, and stay as they are.
    """
    found: dict[tuple[Any, ...], dict[str, Any]] = {}
    for error in exc.errors():
        # For a value of a union type, pydantic reports an error for each member, with the member's name at the end.
        place = tuple(error["loc"]) if error["loc"][0] == "body" else tuple(error["loc"][:2])
        if place[2:] and place[-1] in UNION_MEMBERS and error["type"] != "extra_forbidden":
            place = place[:-1]
        found.setdefault(place, {"loc": place, "msg": _sentence(error, body_model, parameters)})
    return RequestValidationError(list(found.values()), body=exc.body)


def _sentence(error: Mapping[str, Any], body_model: object, parameters: Sequence[str]) -> str:
    kind, message = error.get("type", ""), str(error["msg"])
    if kind in {"too_short", "too_long"} and isinstance(error.get("input"), str):  # a limit of a union that has text
        kind = f"string_{kind}"
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        name = str(error["loc"][-1])
        said = say_unknown(name, sorted(_fields_at(body_model, error["loc"][1:-1])), "field")
        is_in_query = tuple(error["loc"]) == ("body", name) and name in parameters
        return f"it belongs in the query, not the JSON body; {said}" if is_in_query else said
    if kind in {"enum", "literal_error"}:
        return _one_of(context["expected"], error.get("input"))
    if kind == "missing" and tuple(error["loc"]) == ("body",):
        return "a JSON object is required"
    if kind in SENTENCES:
        return SENTENCES[kind](context)
    if kind.endswith(("_type", "_parsing", "_from_float", "_number", "_size")) and (
        what := KINDS.get(kind.partition("_")[0])
    ):
        return f"must be {what}"
    return message.removeprefix("Value error, ")


def _one_of(expected: str, given: object) -> str:
    """Return the sentence about a value that is not allowed.

    `expected` is pydantic's list of allowed values, with 'or'.
    """
    close = difflib.get_close_matches(str(given), re.findall(r"'([^']*)'", expected), n=1)
    return f"must be {expected}" + (f"; did you mean {close[0]!r}?" if close else "")


def _fields_at(model: object, location: tuple[Any, ...]) -> list[str]:
    """Return the names of the fields of the class at a location in the body; none if there is no such class."""
    for part in location:
        if not (isinstance(model, type) and issubclass(model, BaseModel) and part in model.model_fields):
            return []
        annotation = model.model_fields[part].annotation
        model = next((each for each in get_args(annotation) if isinstance(each, type)), annotation)
    return list(model.model_fields) if isinstance(model, type) and issubclass(model, BaseModel) else []


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
