"""What may be a model's name: its path below the model folder, with '/' between the parts."""

import re
import unicodedata

from app.errors import InvalidModelName

MAX_NAME_BYTES = 1024
MAX_PART_BYTES = 255
"""NAME_MAX of every common Linux file system."""
_START, _REST = r"[ -\-0-\[\]-~]", r"[ -.0-\[\]-~]*"
PLAIN = re.compile(rf"{_START}{_REST}(?:/{_START}{_REST})*")
"""Nearly every name there is, and a scan asks for each: printable ASCII without backslash, and no part that is empty or
starts with '.'."""


def parts_of(name: str) -> tuple[str, ...]:
    """Split a name that is safe to resolve below the model folder; raises InvalidModelName.

    What is refused can never be a model: the parts '..' and '.', empty parts (so absolute paths too), hidden parts
    ('.store' among them), backslashes, NUL, control characters and line separators, text that is not UTF-8, and
    lengths that no file system takes.
    """
    if reason := problem_with(name):
        raise InvalidModelName(name, reason)
    return tuple(name.split("/"))


def problem_with(name: str) -> str | None:
    """Why this cannot be a model's name, or None."""
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
        return "it contains a line or paragraph separator"  # and reports of one line a model would be two
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
