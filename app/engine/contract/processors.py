"""AsposeAI's text processors, and the limits of the calls that use them."""

from enum import StrEnum

DEFAULT_MODEL = "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"
"""The model that AsposeAI uses when none is named; without a licence it uses no other, whatever is named."""
MAX_TEXT_BYTES = 128 << 10
"""The longest text, and the longest answer, in UTF-8: as JSON it fits a line whatever it holds."""


class Processor(StrEnum):
    """One of AsposeAI's post-processors. An engine process loads one of them, once, with its model."""

    SPELL_CHECK = "spell-check"
    KEYWORDS = "keywords"
    QUERY = "query"
