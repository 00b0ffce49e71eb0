"""docs/architecture.md lists every folder of the code, and names only files, symbols and states that exist."""

import ast
import re
from pathlib import Path

import pytest

from app.engine.states import EngineState
from app.jobs.records import JobState

ROOT = Path(__file__).parents[1]
APP = ROOT / "app"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
CODE = re.compile(r"`([^`\n]+)`")
FILE = re.compile(r"(?:[a-z_]+/)*[a-z_]+\.py")
FOLDER = re.compile(r"(?:[a-z_]+/)+")
SYMBOL = re.compile(r"(?:[A-Z][A-Za-z]+(?:\.[a-z_]+)?|[A-Z]{4,}|[a-z_]+\(\.\.\.\))")
LONGEST_LINES = 150


def folders() -> list[Path]:
    """Return every package folder of `app`."""
    return [APP, *sorted(path.parent for path in APP.glob("*/**/__init__.py"))]


def defined() -> set[str]:
    """Return the names that `app` defines, as the page writes them: classes, members, functions and constants."""
    names: set[str] = set()
    for path in APP.rglob("*.py"):
        for node in ast.parse(path.read_text()).body:
            names |= set(names_of(node))
            if isinstance(node, ast.ClassDef):
                names |= {f"{node.name}.{name}" for member in node.body for name in names_of(member)}
    return names


def names_of(node: ast.stmt) -> list[str]:
    """Return the names that one statement defines."""
    if isinstance(node, ast.ClassDef):
        return [node.name]
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return [node.name, f"{node.name}(...)"]
    targets = node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
    return [target.id for target in targets if isinstance(target, ast.Name)]


@pytest.mark.parametrize("folder", folders(), ids=lambda folder: str(folder.relative_to(ROOT)))
def test_each_folder_is_in_the_table(folder: Path) -> None:
    """The page's table has a row for each package folder."""
    name = "app/" if folder == APP else f"{folder.relative_to(APP)}/"

    assert re.search(rf"^\| [^|]*`{name}`", PAGE, re.MULTILINE)


def test_each_path_that_is_named_exists() -> None:
    """Every path on the page exists below `app`; a bare file name is of `app` or of a folder named on its line."""
    missing = []
    for line in PAGE.splitlines():
        spans = CODE.findall(line)
        here = [APP, *(APP / span for span in spans if FOLDER.fullmatch(span))]
        for span in spans:
            if FOLDER.fullmatch(span):
                found = span == "app/" or (APP / span).is_dir()
            elif FILE.fullmatch(span):
                found = any((folder / span).is_file() for folder in here)
            else:
                continue
            if not found:
                missing.append(span)

    assert not missing


def test_each_symbol_that_is_named_exists() -> None:
    """Every class, function and constant on the page is defined in `app`."""
    spans = {span for span in CODE.findall(PAGE) if SYMBOL.fullmatch(span)}

    assert len(spans) > 20
    assert not spans - defined() - {"GET", "POST", "DELETE"}


def test_each_symbol_is_defined_in_the_file_named_with_it() -> None:
    """Where the page says "`X` in `file.py`", that file defines X."""
    for symbol, file in re.findall(r"`(\w+)` in `([a-z_/]+\.py)`", PAGE):
        names = {name for node in ast.parse((APP / file).read_text()).body for name in names_of(node)}
        assert symbol in names, file


@pytest.mark.parametrize("state", [*EngineState, *JobState])
def test_each_state_is_on_the_page(state: EngineState | JobState) -> None:
    """The page names every state of the engine and of jobs."""
    assert re.search(rf"\b{state}\b", PAGE)


def test_the_page_stays_short() -> None:
    """The page has at most LONGEST_LINES lines."""
    assert len(PAGE.splitlines()) <= LONGEST_LINES
