"""Each enumeration is declared once: a copy in a schema makes the next value a 500."""

import ast
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import app

ROOT = Path(app.__file__).parent


def enumerations(tree: ast.AST) -> Iterator[frozenset[str]]:
    """The values of every StrEnum and every Literal of strings, wherever it is written."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and "StrEnum" in {getattr(base, "id", "") for base in node.bases}:
            yield frozenset(strings(line.value for line in node.body if isinstance(line, ast.Assign)))
        elif isinstance(node, ast.Subscript) and getattr(node.value, "id", "") == "Literal":
            yield frozenset(strings(node.slice.elts if isinstance(node.slice, ast.Tuple) else []))


def strings(nodes: Iterator[ast.expr] | list[ast.expr]) -> Iterator[str]:
    return (node.value for node in nodes if isinstance(node, ast.Constant) and isinstance(node.value, str))


def test_no_enumeration_is_written_twice() -> None:
    """Neither in a schema nor beside one: code that needs the values imports the declaration."""
    written = defaultdict[frozenset[str], list[str]](list)
    for module in ROOT.rglob("*.py"):
        for values in enumerations(ast.parse(module.read_bytes())):
            if len(values) > 1:
                written[values].append(str(module.relative_to(ROOT)))

    copied = {tuple(sorted(values)): places for values, places in written.items() if len(places) > 1}
    assert copied == {}
