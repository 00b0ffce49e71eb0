"""Requests and answers of `/ai`."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from pydantic_core import PydanticCustomError

from app.api.ai.spell_check import changes_between, corrected
from app.api.http.problem_types import Problem
from app.api.http.problems import ProblemContext, problem_of
from app.api.http.schema import Schema
from app.api.images.page_warnings import PageWarningOut
from app.engine.contract.processors import Processor, lines_beyond_spell_check
from app.engine.recognition import Recognition
from app.engine.text_runner import TextOutcome, TextTask

InputText = Annotated[str, Field(min_length=0)]
"""Any text without lone surrogates. pydantic refuses them only if the type has a constraint, such as `min_length`."""
MAX_TEXTS = 1000
"""The most texts of one request."""
Keyword = Annotated[str, Field(min_length=1, max_length=200)]


class TextsIn(BaseModel):
    """Texts to process."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    texts: Annotated[list[InputText], Field(min_length=1, max_length=MAX_TEXTS)]
    """The texts. Each is processed separately and has its own result. `OCR_AI_MAX_TEXT_BYTES` limits their length."""
    timeout_seconds: Annotated[float | None, Field(gt=0, le=86400)] = None
    """How long the engine may work on one text; `OCR_ENGINE_CALL_TIMEOUT` is the maximum and the default."""

    def parameters(self) -> dict[str, Any]:
        """Return the processor's parameters besides the texts. The base class has none."""
        return {}


class SpellCheckIn(TextsIn):
    """Texts to correct."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"texts": ["The quik brown fox"], "diff": True}]})

    diff: bool = False
    """Whether to list the changes, word by word."""


class KeywordsIn(TextsIn):
    """Texts to search for keywords."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["Total due: 12.50 EUR"], "keywords": ["total", "currency"]}]}
    )

    keywords: Annotated[list[Keyword], Field(min_length=1, max_length=50)]
    """The keywords to search for."""

    def parameters(self) -> dict[str, Any]:
        """Return the keywords as the processor's parameters."""
        return {"keywords": self.keywords}


class QueryIn(TextsIn):
    """Texts, and a question that is asked about each text."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"texts": ["Total due: 12.50 EUR"], "question": "How much is due?"}]}
    )

    question: Annotated[str, Field(min_length=1, max_length=1000)]
    """The question, in plain language."""

    def parameters(self) -> dict[str, Any]:
        """Return the question as the processor's parameter."""
        return {"question": self.question}


class ChangeOut(Schema):
    """One step of the difference between a text and the corrected text: a run of words and blanks."""

    op: Literal["equal", "delete", "insert", "replace"]
    """What the correction did with the run."""
    before: str
    """The run in the text; all `before` joined are the text."""
    after: str
    """The run in the corrected text; all `after` joined are the corrected text."""


class TextResultOut(Schema):
    """The result of one text."""

    text: str | None
    """The corrected text, the keywords found, or the answer to the question; null after an error."""
    diff: list[ChangeOut] | None
    """The changes, if a spell check was requested with `diff`; else null."""
    uncorrected_lines: list[PositiveInt] = Field(default=[])
    """The lines, numbered from 1, that were not corrected because AsposeAI's spell check fails on them: lines with
    more than two bytes of UTF-8 for each UTF-16 code unit, such as a line in Chinese, Thai or Hindi alone."""
    error: Problem | None
    """The problem with this text; null if the text has an answer."""


class TextJobResultOut(TextResultOut):
    """The result of one text of a job."""

    index: NonNegativeInt
    """The place of the item in the request, counted from 0."""

    @model_validator(mode="after")
    def _check_has_one(self) -> Self:
        """Refuse a result with neither or both, which only a damaged disk can have."""
        if (self.text is None) == (self.error is None):
            raise PydanticCustomError("result", "a result has either a text or a problem")
        return self


class TextJobResultsOut(Schema):
    """One page of the results of a job's texts."""

    processor: Processor
    """The processor that was used."""
    model: str
    """The model that was used."""
    failed_count: NonNegativeInt
    """How many items of the job have failed so far."""
    results: list[TextJobResultOut]
    """The results of this page, in the order of the request."""
    next_cursor: NonNegativeInt | None
    """The `cursor` of the next page; null if the job is finished and this is the last page."""


class AiOut(Schema):
    """The results of the texts, in their order."""

    processor: Processor
    """The processor that was used."""
    model: str
    """The model that was used."""
    failed_count: int
    """How many texts have an error."""
    results: list[TextResultOut]
    """A result for each text."""


class TablePageOut(Schema):
    """One page as a table."""

    number: PositiveInt
    """The page number in the document, counted from 1."""
    source: str | None
    """The name of the page's file in a ZIP archive; null for other formats."""
    rows: list[list[str]]
    """The cells of each row, from the top, as the engine separates them."""
    truncated_by_evaluation: bool
    """Whether the unlicensed engine has cut the page to its first rows or to none."""
    warnings: list[PageWarningOut]
    """What was cut, lost or doubtful on this page; empty if nothing was."""


class TablesOut(Schema):
    """The pages of a document as tables."""

    truncated_by_evaluation: bool
    """Whether any page is cut."""
    pages: list[TablePageOut]
    """The pages that were read, in order."""
    engine_seconds: NonNegativeFloat
    """How long the engine worked, without the wait in the queue."""


def failed_text(index: int, problem: Problem) -> TextJobResultOut:
    """Return the result of a text of a job that has a problem."""
    return TextJobResultOut(index=index, text=None, diff=None, error=problem)


def describe(body: TextsIn, task: TextTask, outcomes: list[TextOutcome], context: ProblemContext) -> AiOut:
    """Return the answer of `/ai` for texts and their outcomes. Takes seconds for a diff of long texts."""
    return AiOut(
        processor=task.load.processor,
        model=task.load.model,
        failed_count=sum(outcome.error is not None for outcome in outcomes),
        results=[describe_one(body, *each, context) for each in zip(body.texts, outcomes, strict=True)],
    )


def describe_one(body: TextsIn, text: str, outcome: TextOutcome, context: ProblemContext) -> TextResultOut:
    """Return the result of one text. Takes seconds for a diff of a long text."""
    if outcome.error:
        return TextResultOut(text=None, diff=None, error=problem_of(outcome.error, context))
    answer = outcome.answer or ""
    if not isinstance(body, SpellCheckIn):
        return TextResultOut(text=answer, diff=None, error=None)
    after = corrected(text, answer)
    diff = [ChangeOut.model_validate(change) for change in changes_between(text, after)] if body.diff else None
    return TextResultOut(text=after, diff=diff, uncorrected_lines=lines_beyond_spell_check(text), error=None)


def describe_tables(recognition: Recognition) -> TablesOut:
    """Return the answer of `POST /ai/table` for a recognition with tables."""
    pages = [
        TablePageOut(
            number=page["number"],
            source=page["source"],
            rows=[row.split("\t") for row in page["table"].splitlines()],
            truncated_by_evaluation=page["truncated_by_evaluation"],
            warnings=page["warnings"],
        )
        for page in recognition.pages
    ]
    return TablesOut(
        truncated_by_evaluation=any(page.truncated_by_evaluation for page in pages),
        pages=pages,
        engine_seconds=round(recognition.seconds, 3),
    )
