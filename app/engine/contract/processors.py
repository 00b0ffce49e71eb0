"""AsposeAI's text processors, and the limits of the calls that use them."""

from enum import StrEnum

DEFAULT_MODEL = "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"
"""The model that AsposeAI loads by default. Without a licence AsposeAI loads no other model."""
MAX_TEXT_BYTES = 128 << 10
"""The longest text and the longest answer, in bytes of UTF-8. Even escaped as JSON, either fits into one line on the
socket."""


class Processor(StrEnum):
    """One of AsposeAI's functions for texts. An engine process loads one processor with its model, once."""

    SPELL_CHECK = "spell-check"
    KEYWORDS = "keywords"
    QUERY = "query"


def is_beyond_spell_check(line: str) -> bool:
    """Return True for a line that AsposeAI's spell check cannot take. One such line makes the whole text fail.

    AsposeAI writes the line as UTF-8 into a buffer of two bytes for each UTF-16 code unit of the line. So a line of
    only Chinese, Thai or Hindi does not fit; a line with enough Latin letters fits. For AsposeAI only a line feed ends
    a line. Measured with aspose-ocr-python-net 26.10.0; see docs/engine.md.
    """
    return len(line.encode()) > len(line.encode("utf-16-le"))


def lines_beyond_spell_check(text: str) -> list[int]:
    """Return the numbers, counted from 1, of the lines that a spell check leaves unchanged."""
    return [number for number, line in enumerate(text.split("\n"), 1) if is_beyond_spell_check(line)]
