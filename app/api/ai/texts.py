"""What of texts is given to a model, and what became of the words of one."""

import difflib
import re
from dataclasses import dataclass

from app.api.http.request_errors import TextTooLong
from app.engine.contract.processors import MAX_TEXT_BYTES, Processor
from app.engine.model_session import TextTask


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How much a model is given at once, and for how long it may work on one text."""

    max_bytes: int
    """AsposeAI's context, in the worst case of one token a byte."""
    call_seconds: float

    def check(self, task: TextTask, texts: list[str]) -> None:
        """Raise TextTooLong for the first that is."""
        given = [part for value in task.parameters.values() for part in ([value] if isinstance(value, str) else value)]
        beside = sum(len(part.encode()) for part in given)
        for index, text in enumerate(texts):
            size_bytes = len(text.encode())
            if size_bytes > MAX_TEXT_BYTES:
                raise TextTooLong(index, size_bytes, MAX_TEXT_BYTES, "The whole")
            # AsposeAI gives a spell check's text to the model line by line.
            if task.load.processor is Processor.SPELL_CHECK:
                size_bytes = max((len(line.encode()) for line in text.splitlines()), default=0)
                what = "A line"
            else:
                what = "The whole, with keywords or question,"
            if beside + size_bytes > self.max_bytes:
                raise TextTooLong(index, beside + size_bytes, self.max_bytes, what)


@dataclass(frozen=True, slots=True)
class Change:
    """A run of words that stayed, went, came or was replaced."""

    op: str
    before: str
    after: str


def corrected(text: str, answer: str) -> str:
    """The answer of a spell check without the line end that AsposeAI puts after the last line."""
    return answer if text.endswith("\n") else answer.removesuffix("\n")


def changes_between(before: str, after: str) -> list[Change]:
    """The changes word by word, in order; all `before` together are the one text, all `after` the other."""
    old, new = (re.findall(r"\s+|\S+", text) for text in (before, after))
    matcher = difflib.SequenceMatcher(None, old, new)
    return [Change(op, "".join(old[a:b]), "".join(new[c:d])) for op, a, b, c, d in matcher.get_opcodes()]
