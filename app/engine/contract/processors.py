"""AsposeAI's text processors, and the limits of the calls that use them."""

from enum import StrEnum

DEFAULT_MODEL = "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"
"""The model that AsposeAI loads by default; without a licence it loads no other model."""
MAX_TEXT_BYTES = 128 << 10
"""The longest text and the longest answer, in bytes of UTF-8. Escaped as JSON, both fit a line of the socket."""


class Processor(StrEnum):
    """A post-processor of AsposeAI. An engine process loads one processor with its model, once."""

    SPELL_CHECK = "spell-check"
    KEYWORDS = "keywords"
    QUERY = "query"
