"""What AsposeAI can be asked to do with a text, and what has to be loaded for it."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

DEFAULT_MODEL = "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"
"""The model that AsposeAI uses when none is named; without a licence it uses no other, whatever is named."""
MAX_TEXT_BYTES = 128 << 10
"""The longest text, and the longest answer, in UTF-8: as JSON it fits a line whatever it holds."""


class Processor(StrEnum):
    """One of AsposeAI's post-processors. An engine process loads one of them, once, with its model."""

    SPELL_CHECK = "spell-check"
    KEYWORDS = "keywords"
    QUERY = "query"


@dataclass(frozen=True, slots=True)
class LoadRequest:
    """What is to be loaded."""

    processor: Processor
    model: str
    model_bytes: int


@dataclass(frozen=True, slots=True)
class Loaded:
    """What an engine process has loaded."""

    processor: Processor
    model: str
    since: datetime
    mapped_bytes: int
    """The part of its address space that is the model's file."""


@dataclass(frozen=True, slots=True)
class Task:
    """What is to be done with texts, on a processor that is loaded for it."""

    wanted: LoadRequest
    keywords: tuple[str, ...] = ()
    question: str = ""

    def call_for(self, text: str) -> dict[str, Any]:
        """The engine's parameters for one text."""
        return {"text": text, "keywords": list(self.keywords), "question": self.question}
