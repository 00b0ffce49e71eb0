"""Rules for the names of models. A name is a file's path below the model folder, with '/' between the parts."""

import re
import unicodedata

from app.errors import InvalidModelName

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
"""The longest part of a name, in bytes: NAME_MAX of every common Linux file system."""
_START, _REST = r"[ -\-0-\[\]-~]", r"[ -.0-\[\]-~]*"
PLAIN = re.compile(rf"{_START}{_REST}(?:/{_START}{_REST})*")
"""Matches most valid names, as a quick check for scans: names of printable ASCII without backslash, in which no part is
empty or starts with '.'."""


def parts_of(name: str) -> tuple[str, ...]:
    """Split a model's name into its parts. Raises InvalidModelName if the name is not a safe path.

    Refused are the parts '..' and '.', empty parts (and so absolute paths), hidden parts (such as '.store'),
    backslashes, NUL, control characters and line separators, text that is not UTF-8, and names that are too long for
    any file system.
    """
    if reason := problem_with(name):
        raise InvalidModelName(name, reason)
    return tuple(name.split("/"))


def problem_with(name: str) -> str | None:
    """Return why a text cannot be a model's name, or None if it can."""
    if len(name) <= MAX_PART_BYTES and PLAIN.fullmatch(name):
        return None
    if reason := _problem_with_characters(name):
        return reason
    if not name:
        return "it is empty"
    if len(name.encode()) > MAX_NAME_BYTES:
        return f"it is longer than {MAX_NAME_BYTES} bytes"
    if name.startswith("/"):
        return "it is an absolute path"
    return next((reason for part in name.split("/") if (reason := _problem_with_part(part))), None)


def _problem_with_characters(name: str) -> str | None:
    if any("\ud800" <= character <= "\udfff" for character in name):
        return "it is not valid UTF-8"
    if "\\" in name:
        return "it contains a backslash"
    categories = {unicodedata.category(character) for character in name}
    if "Cc" in categories:
        return "it contains a control character"
    if categories & {"Zl", "Zp"}:
        return "it contains a line or paragraph separator"  # it would break reports that have one line for each model
    return None


def _problem_with_part(part: str) -> str | None:
    if not part:
        return "it has an empty part (a '/' at its end, or two in a row)"
    if part == "..":
        return "'..' would lead out of the model folder"
    if part.startswith("."):
        return "parts that start with '.' are hidden or the store's own, never models"
    if len(part.encode()) > MAX_PART_BYTES:
        return f"a part is longer than {MAX_PART_BYTES} bytes"
    return None
