"""AsposeAI's text processors, and the limits of the calls that use them."""

from enum import StrEnum

DEFAULT_MODEL = "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"
"""The model that AsposeAI uses unless another is named; without a licence it uses no other."""
MAX_TEXT_BYTES = 128 << 10
"""The longest text and the longest answer, in UTF-8: escaped as JSON it still fits a line of the socket."""


class Processor(StrEnum):
    """A post-processor of AsposeAI. An engine process loads one of them, once, with its model."""

    SPELL_CHECK = "spell-check"
    KEYWORDS = "keywords"
    QUERY = "query"
