"""Which texts are valid names of models."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.errors import InvalidModelName
from app.store.names import parts_of

HOSTILE = {
    "": "empty",
    "..": "out of",
    "../x": "out of",
    "a/../../x": "out of",
    "a/..": "out of",
    ".": "start with '.'",
    "a/./b": "start with '.'",
    "/etc/passwd": "absolute",
    "//x": "absolute",
    "a//b": "empty part",
    "a/": "empty part",
    "a\\b": "backslash",
    "..\\x": "backslash",
    "C:\\x": "backslash",
    "a\0b": "control",
    "a\nb": "control",
    "a\x1b[31mb": "control",
    "a\x7f": "control",
    "a\x85": "control",
    "a\u2028OLD: b": "line or paragraph separator",
    "a\u2029b": "line or paragraph separator",
    ".store": "start with '.'",
    ".store/trash/x": "start with '.'",
    "a/.hidden": "start with '.'",
    "a\udcffb": "UTF-8",
    "x" * 256: "longer than 255",
    "ž" * 128: "longer than 255",
    "/".join(["x" * 200] * 6): "longer than 1024",
}
GOOD = [
    "en_ocr_v1.bin",
    "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf",
    "モデル/русский/نموذج.bin",
    "a b/%2e%2e/c",
    "..a",
    "a..b/c..",
    "x" * 255,
]


@pytest.mark.parametrize(("name", "reason"), HOSTILE.items(), ids=repr)
def test_hostile_names_are_refused_with_the_reason(name: str, reason: str) -> None:
    """A name that could leave the folder, reach `.store/` or name no file raises InvalidModelName with the reason."""
    with pytest.raises(InvalidModelName, match=reason):
        parts_of(name)


@pytest.mark.parametrize("name", [name for name in GOOD if not name.startswith(".")])
def test_good_names_in_any_script_are_accepted(name: str) -> None:
    """Names in any script, and with any character that a file system and a URL can carry, are split unchanged."""
    assert "/".join(parts_of(name)) == name


@given(st.text(st.characters(exclude_categories=[]), max_size=40) | st.text("./\\a\0", max_size=12))
def test_every_accepted_name_stays_inside_the_folder(name: str) -> None:
    """Any text is refused, or is a path below the folder with no hidden part, unchanged."""
    try:
        parts = parts_of(name)
    except InvalidModelName:
        return
    resolved = os.path.normpath(Path("/root/models", *parts))
    assert resolved == f"/root/models/{name}"
    assert not any(part.startswith(".") for part in parts)
