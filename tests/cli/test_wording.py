"""The sentences of errors in the words of the command line."""

import re

import pytest

from app.api.http.connections.errors import HeadTimedOut, HeadTooLarge, InvalidHttp
from app.api.http.problem_table import PROBLEM_TYPES
from app.api.http.problem_types import TYPE_PREFIX
from app.api.http.request_errors import PartialBody, TooManyUnfinishedUploads, UnsupportedBody
from app.cli.backends.service_client import RefusedByService
from app.cli.wording import in_commands, is_error, sentence_of
from app.errors import ConditionFailed, ModelInUse, ModelNotFound, ServiceError, TrashEntryNotFound

HTTP = re.compile(
    r"\b(GET|PUT|POST|PATCH|DELETE|HEAD) /|If-Match|If-None-Match|if_exists|(?<!running )\brequest|blockers"
    r"|(?<!inside its )header|Bearer|\bquery\b"
    r"|Content-|/uploads"
)
BY_HTTP_ONLY = (
    ConditionFailed,
    HeadTimedOut,
    HeadTooLarge,
    InvalidHttp,
    PartialBody,
    TooManyUnfinishedUploads,
    UnsupportedBody,
)
"""Errors of requests that no command sends."""
SAMPLES = [kind.sample for exception, kind in PROBLEM_TYPES.items() if exception.__module__.startswith("app.")]


@pytest.mark.parametrize("error", SAMPLES, ids=lambda each: type(each).__name__)
def test_no_sentence_speaks_http(error: Exception) -> None:
    """No sentence that a command prints, by itself or for a service, names an HTTP request, header or field."""
    if not isinstance(error, BY_HTTP_ONLY) and type(error).__name__ not in {"NotFound", "MethodNotAllowed"}:
        assert not HTTP.search(in_commands(str(error)))


def test_a_wrong_option_is_named_without_its_place_in_the_request() -> None:
    """The sentence about a parameter names the parameter alone."""
    assert (
        in_commands("query.pages: must be pages; query.mode: must be fast")
        == "pages: must be pages; mode: must be fast"
    )


def test_who_uses_a_model_is_named() -> None:
    """The sentence about a model in use names its users."""
    blocker = {"kind": "command", "holder": "backup", "pid": 7, "host": "nas", "since": None}

    assert "command 'backup' (process 7 on nas)" in sentence_of(ModelInUse("a.bin", [blocker]))


@pytest.mark.parametrize("exception", [ModelNotFound, TrashEntryNotFound])
def test_a_problem_of_a_service_is_the_error_of_the_store(exception: type[ServiceError]) -> None:
    """`is_error` knows a class of errors also by the type of its problem."""
    kind = PROBLEM_TYPES[exception]
    problem = {"type": TYPE_PREFIX + kind.slug, "status": kind.status}

    assert is_error(RefusedByService(problem, "no"), exception)
    assert not is_error(RefusedByService(problem | {"type": TYPE_PREFIX + "other"}, "no"), exception)
