"""`EventName` declares every event: the docs list each event with its level, and the code reports each."""

import ast
import logging
import re
from pathlib import Path

import pytest

from app.engine.states import EngineState
from app.events import EventName
from app.store.journal.entries import Action

ROOT = Path(__file__).parents[1]
GROUPS = "|".join(sorted({event.split(".")[0] for event in EventName}))
NAME = re.compile(rf"`((?:{GROUPS})\.(?!json|py|gguf|bin|ocr|md|env)[a-z_]+)`")
ROW = re.compile(r"^\| (`[a-z_.`, ]+`) \| (info|warning|error|critical) \|", re.MULTILINE)


def modules_of_app() -> list[tuple[Path, ast.Module]]:
    """Return the syntax tree of each module of `app` but `events.py`, with its path."""
    return [
        (path.relative_to(ROOT), ast.parse(path.read_text()))
        for path in sorted((ROOT / "app").rglob("*.py"))
        if path.name != "events.py"
    ]


@pytest.mark.parametrize("page", sorted((ROOT / "docs").glob("*.md")), ids=lambda page: page.name)
def test_each_event_that_a_page_names_is_declared(page: Path) -> None:
    """Every event that a page of the docs names is an EventName."""
    assert set(NAME.findall(page.read_text())) <= set(EventName)


def test_the_docs_list_each_event_with_its_level() -> None:
    """docs/operations.md lists exactly the declared events, each with its level."""
    rows = ROW.findall((ROOT / "docs" / "operations.md").read_text())
    listed = {name: level for names, level in rows for name in re.findall(r"`([a-z_.]+)`", names)}

    assert listed == {event.value: logging.getLevelName(event.level).lower() for event in EventName}


def test_each_declared_event_is_reported_somewhere() -> None:
    """Some module of `app` reports each declared event."""
    reported = {
        node.attr
        for _, module in modules_of_app()
        for node in ast.walk(module)
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "EventName"
    }
    reported |= {EventName(f"engine.{state}").name for state in EngineState}
    reported |= {EventName(f"model.{action}").name for action in Action}

    assert reported == {event.name for event in EventName}


def test_modules_use_event_name_instead_of_literals() -> None:
    """No module of `app` writes an event's name as a literal."""
    names = set(EventName) - {EventName.REQUEST}  # a word with other uses
    retyped = [
        f"{path}:{node.lineno}"
        for path, module in modules_of_app()
        for node in ast.walk(module)
        if isinstance(node, ast.Constant) and node.value in names
    ]

    assert not retyped
