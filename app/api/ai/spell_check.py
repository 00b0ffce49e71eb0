"""The result of a spell check: the corrected text, and the difference word by word."""

import difflib
import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """A run of words and blanks that is equal, deleted, inserted or replaced (`op`)."""

    op: str
    before: str
    after: str


def corrected(text: str, answer: str) -> str:
    """Return the answer of a spell check without the line end that AsposeAI adds to the last line."""
    return answer if text.endswith("\n") else answer.removesuffix("\n")


def changes_between(before: str, after: str) -> list[Change]:
    """Return the changes word by word, in order. Takes seconds for long texts.

    All `before` parts joined are the old text, all `after` parts joined are the new text.
    """
    old, new = (re.findall(r"\s+|\S+", text) for text in (before, after))
    matcher = difflib.SequenceMatcher(None, old, new)
    return [Change(op, "".join(old[a:b]), "".join(new[c:d])) for op, a, b, c, d in matcher.get_opcodes()]
