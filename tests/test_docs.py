"""The sentences of the docs that a program can check: commands, settings with their defaults, and scopes."""

import re
from collections.abc import Iterator
from datetime import timedelta
from itertools import takewhile
from pathlib import Path

import click
import pytest

from app.api.http.problem_table import PROBLEM_TYPES
from app.cli.main import main
from app.engine.child.images.image_sizes import MAX_SIDE_PIXELS
from app.main import create_app
from app.settings import COMMAND_VARIABLES, ENV_PREFIX, Settings

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted(ROOT.glob("docs/**/*.md")), *sorted(ROOT.glob("deploy/**/*.md"))]
COMMAND = re.compile(r"(?:python -m app|ocr-models)((?: [^\s`|>#)]+)*)")
OTHERS_SETTINGS = {"OCR_SERVICE_HOST", "OCR_TEST_RESOURCES"}
"""Variables in the docs that other programs set, or that the tests read."""
RARE = {"engine-call-failed", "engine-unknown"}
"""Problems of the engine whose own sentence says all there is to say."""
UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400}


def command_of(words: list[str]) -> tuple[click.Command, list[str]]:
    """Return the command that these words call, and the words after it. Raises KeyError if there is none."""
    command: click.Command = main
    while isinstance(command, click.Group) and words:
        command, words = command.commands[words[0]], words[1:]
    return command, words


def commands_in(page: Path) -> Iterator[list[str]]:
    for found in COMMAND.finditer(page.read_text()):
        words = [word.rstrip(".,;:") for word in found[1].split()]
        if words and re.fullmatch("[a-z]+", words[0]):
            yield words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_command_in_the_docs_exists(page: Path) -> None:
    """Each `python -m app ...` names a command, with options that the command has."""
    for words in commands_in(page):
        command, rest = command_of(words)
        if "--" in rest or not command.context_settings.get(
            "allow_interspersed_args", True
        ):  # the rest is another program's command line
            rest = list(takewhile(lambda word: word.startswith("--") and word != "--", rest))
        known = {option for parameter in command.params for option in parameter.opts} | {"--help"}
        assert {word.partition("=")[0] for word in rest if word.startswith("--")} <= known, words


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_test_that_the_docs_name_exists(page: Path) -> None:
    """Each `tests/...` in a page is a file or folder."""
    named = re.findall(r"`(tests/[\w/.]+)`", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_variable_in_the_docs_is_a_setting(page: Path) -> None:
    """Each `OCR_...` in a page is a setting."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields} | set(COMMAND_VARIABLES)
    named = set(re.findall(r"\bOCR_[A-Z_]+[A-Z]\b(?!\*|…)", page.read_text()))
    assert named - known - OTHERS_SETTINGS == set()


def test_the_defaults_in_the_docs_are_those_of_the_settings() -> None:
    """Each row of docs/settings.md has the setting's default, as a variable would hold it."""
    rows = dict(re.findall(r"^\| `(OCR_\w+)` \| ([^|]*) \|", (ROOT / "docs/settings.md").read_text(), re.MULTILINE))
    assert set(rows) == {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    for name, field in Settings.model_fields.items():
        text = rows[ENV_PREFIX + name.upper()].strip("`")
        if field.default in (None, (), ""):
            assert text == "none", name
        elif isinstance(field.default, timedelta):
            seconds = float(text[:-1]) * UNITS[text[-1]] if text != "0" else 0
            assert timedelta(seconds=seconds) == field.default, name
        elif isinstance(field.default, tuple):
            assert tuple(text.split(",")) == field.default, name
        else:
            expected = str(field.default).lower() if isinstance(field.default, bool) else str(field.default)
            assert text == expected, name


def test_the_scopes_in_the_docs_are_those_of_the_operations() -> None:
    """Each operation in the table of docs/api.md has the scope that the document gives it, and none is missing."""
    document = create_app(Settings()).openapi()
    actual = {
        (method.upper(), path): next((need["api_key"][0] for need in operation["security"] if need), "none")
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
    }
    documented = dict(scopes_in((ROOT / "docs/api.md").read_text()))
    shorter = {(method, re.sub(r"\{\w+_id\}", "{id}", path)): scope for (method, path), scope in actual.items()}

    assert {key: shorter.get(key) for key in documented} == documented
    assert {key for key in shorter if key[0] != "HEAD"} <= set(documented)


def scopes_in(page: str) -> Iterator[tuple[tuple[str, str], str]]:
    """Yield each operation in the first table of api.md with its scope."""
    for calls, scopes in re.findall(r"^\| (`[A-Z].*?) \| .* \| ([^|]+) \|$", page, re.MULTILINE):
        groups = calls.split(" · ") if " · " in scopes else [calls]
        for group, scope in zip(groups, scopes.split(" · "), strict=True):
            yield from ((call, scope.strip("` ")) for call in _calls_in(group))


def _calls_in(text: str) -> Iterator[tuple[str, str]]:
    """Yield the operations of a cell, where a path may stand for several methods, and `…` for the path before."""
    methods: list[str] = []
    path, is_complete = "", True
    for method, place in re.findall(r"\b([A-Z]+)\b|([/…][^\s`,]*)", text):
        if method:
            methods = [method] if is_complete else [*methods, method]
            is_complete = False
        else:
            path, is_complete = place.replace("…", path.rpartition("/")[0]), True
            yield from ((each, path) for each in methods)


@pytest.mark.parametrize("page", ["api/errors", "recognition"])
def test_the_longest_side_of_a_page_is_documented(page: str) -> None:
    """The limit that no setting changes is where the limits of settings are."""
    assert f"a side of more than {MAX_SIDE_PIXELS:,} pixels" in (ROOT / f"docs/{page}.md").read_text()


def test_each_problem_on_the_page_of_symptoms_exists() -> None:
    """docs/troubleshooting.md names problem types with their status, among them those of the folder and the engine."""
    statuses = {kind.slug: str(kind.status) for kind in PROBLEM_TYPES.values()}
    page = (ROOT / "docs/troubleshooting.md").read_text()
    named = {slug: status for status, slug in re.findall(r"\b([45]\d\d) `([a-z-]+)`", page)}

    assert named == {slug: statuses.get(slug) for slug in named}
    assert named.keys() >= {slug for slug in statuses if slug.startswith(("store-", "engine-", "resource-"))} - RARE
