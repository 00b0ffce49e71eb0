"""The sentences of errors in the words of the command line."""

import re

import pytest

from app.api.http.problem_table import PROBLEM_TYPES
from app.cli.wording import sentence_of
from app.errors import ConditionFailed, EngineError, ImageError, ModelInUse, ServiceError

HTTP = re.compile(r"\b(GET|PUT|POST|PATCH|DELETE|HEAD) /|If-Match|If-None-Match|if_exists|\brequest|blockers|header")
BY_HTTP_ONLY = (EngineError, ImageError, ConditionFailed)
"""The errors that no command can raise."""


@pytest.mark.parametrize(
    "error", [each.sample for each in PROBLEM_TYPES.values()], ids=lambda each: type(each).__name__
)
def test_no_sentence_speaks_http(error: Exception) -> None:
    """No sentence that a command prints names an HTTP request, header or field."""
    if isinstance(error, ServiceError) and not isinstance(error, BY_HTTP_ONLY):
        assert not HTTP.search(sentence_of(error))


def test_who_uses_a_model_is_named() -> None:
    """The sentence about a model in use names its users."""
    blocker = {"kind": "command", "holder": "backup", "pid": 7, "host": "nas", "since": None}

    assert "command 'backup' (process 7 on nas)" in sentence_of(ModelInUse("a.bin", [blocker]))
