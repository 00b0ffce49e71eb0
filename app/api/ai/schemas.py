"""What calls of a model take and give on the wire."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.http.problem_types import Problem
from app.api.http.schema import Schema
from app.engine.contract.processors import Processor

Text = Annotated[str, Field(min_length=0)]
"""Any. Only of a text with a constraint does pydantic insist that it holds no half of a surrogate pair."""
Words = Annotated[str, Field(min_length=1, max_length=200)]


class TextsIn(BaseModel):
    """Texts for a model."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    texts: Annotated[list[Text], Field(min_length=1, max_length=1000)]
    """Each is worked on by itself, and has a result of its own. How long one may be, `OCR_AI_MAX_TEXT_BYTES` says."""
    timeout_seconds: Annotated[float | None, Field(gt=0, le=86400)] = None
    """How long the engine may work on one text, if less than `OCR_ENGINE_CALL_TIMEOUT`."""

    def parameters(self) -> dict[str, Any]:
        """Return what the processor takes besides the texts."""
        return {}


class SpellCheckIn(TextsIn):
    """Texts to be corrected."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"texts": ["The quik brown fox"], "diff": True}]})

    diff: bool = False
    """Whether to say which words changed."""


class KeywordsIn(TextsIn):
    """Texts to be searched."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["Total due: 12.50 EUR"], "keywords": ["total", "currency"]}]}
    )

    keywords: Annotated[list[Words], Field(min_length=1, max_length=50)]
    """What to look for."""

    def parameters(self) -> dict[str, Any]:
        """Return the keywords."""
        return {"keywords": self.keywords}


class QueryIn(TextsIn):
    """Texts, and a question about each."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["Total due: 12.50 EUR"], "question": "How much is due?"}]}
    )

    question: Annotated[str, Field(min_length=1, max_length=1000)]
    """The question, in plain language."""

    def parameters(self) -> dict[str, Any]:
        """Return the question."""
        return {"question": self.question}


class ChangeOut(Schema):
    """A run of words and blanks that stayed, went, came or was replaced."""

    op: Literal["equal", "delete", "insert", "replace"]
    """What happened to it."""
    before: str
    """What the text had there; all of these together are the text."""
    after: str
    """What the corrected text has there; all of these together are the corrected text."""


class ResultOut(Schema):
    """What came of one text."""

    text: str | None
    """The model's answer: the corrected text, the findings or the answer. Null when there is none."""
    diff: list[ChangeOut] | None
    """The changes, of a spell check that was asked for them."""
    error: Problem | None
    """Why there is no answer."""


class AiOut(Schema):
    """What came of the texts, in their order."""

    processor: Processor
    """What was done with them."""
    model: str
    """By which model."""
    failed_count: int
    """How many have an error."""
    results: list[ResultOut]
    """One for each text."""
