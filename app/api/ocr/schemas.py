"""Requests and answers of `/ocr`."""

from collections.abc import Iterable, Sequence
from itertools import zip_longest
from typing import Any, Self

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveInt, field_validator, model_validator
from pydantic_core import PydanticCustomError

from app.api.ai.schemas import TextResultOut
from app.api.http.problem_types import Problem
from app.api.http.schema import InlineEnum, Schema
from app.api.images.page_warnings import PageWarningOut
from app.engine.contract.reading_options import ReadingKind, ReadingMode
from app.engine.contract.recognition_call import RecognitionOptions
from app.engine.recognition import Recognition

PAGE_BREAK = "\f"


class BoxOut(Schema):
    """A rectangle on a page, in pixels of the image that was read."""

    x: int
    """The left edge, from the left of the image."""
    y: int
    """The upper edge, from the top of the image."""
    width: NonNegativeInt
    """The width of the rectangle."""
    height: NonNegativeInt
    """The height of the rectangle."""


class LineOut(Schema):
    """One line of text."""

    text: str
    """The text of the line."""
    box: BoxOut
    """The rectangle of the line."""


class RegionOut(Schema):
    """The text of one of the requested regions of a page."""

    text: str
    """The text of the region; empty if it has none, or if the unlicensed engine has cut it."""
    box: BoxOut
    """The rectangle of the region."""


class PageOut(Schema):
    """One page of a document, or a single image."""

    number: PositiveInt
    """The page number in the document, counted from 1."""
    source: str | None
    """The name of the page's file in a ZIP archive; null for other formats."""
    width: PositiveInt | None
    """The width in pixels of the image that was read. The engine renders a page of a PDF to an image."""
    height: PositiveInt | None
    """The height in pixels of the image that was read."""
    text: str
    """The text of the page; without a licence, the part that the engine gives."""
    corrected: TextResultOut | None
    """The result of the correction; null without `correct`."""
    skew_degrees: float | None
    """The skew of the page as the engine measured it; null without `auto_skew` or `detect_skew`."""
    truncated_by_evaluation: bool
    """Whether the unlicensed engine has cut the text: to 300 characters, or a short page to less than a third. A
    page of a single line may lose all its text."""
    lines: list[LineOut]
    """The lines; the unlicensed engine gives some lines of a long page and none of a short one."""
    warnings: list[PageWarningOut]
    """What was cut, lost or doubtful on this page; empty if nothing was."""
    regions: list[RegionOut] = Field(default=[])
    """The regions, each in the place that it has in the option `regions`. The unlicensed engine cuts the texts of the
    last ones; then `truncated_by_evaluation` is true."""


class ReadingSettingsOut(Schema):
    """How the image was read."""

    kind: InlineEnum[ReadingKind]
    """What the image shows, as the caller stated."""
    mode: InlineEnum[ReadingMode]
    """How thoroughly the engine read."""
    language: str
    """The language or script."""
    areas: str
    """How the engine found text on a page."""
    auto_skew: bool
    """Whether the engine turned skewed pages upright."""
    upscale: bool
    """Whether the engine enlarged small text."""
    filters: list[str]
    """The filters that were applied before recognition, in order."""

    @field_validator("filters", mode="before")
    @classmethod
    def _as_written(cls, filters: Iterable[object]) -> list[str]:
        return [str(each) for each in filters]


class RecognitionOut(Schema):
    """The recognised text of an image."""

    text: str
    """The text of all pages, with a form feed between two pages. Corrected pages have their corrected text."""
    truncated_by_evaluation: bool
    """Whether the text of any page is cut."""
    pages: list[PageOut]
    """The pages that were read, in order."""
    settings: ReadingSettingsOut
    """How the pages were read."""
    engine_seconds: NonNegativeFloat
    """How long the engine worked, without the wait in the queue."""


class FileResultOut(Schema):
    """The result of one file of a job."""

    index: NonNegativeInt
    """The place of the item in the request, counted from 0."""
    name: str | None
    """The name of the file in the form, or null."""
    recognition: RecognitionOut | None
    """The recognised text; null after an error."""
    error: Problem | None
    """The problem with this file; null if the file could be read."""

    @model_validator(mode="after")
    def _check_has_one(self) -> Self:
        """Refuse a result with neither or both, which only a damaged disk can have."""
        if (self.recognition is None) == (self.error is None):
            raise PydanticCustomError("result", "a result has either a text or a problem")
        return self


class RecognitionsOut(Schema):
    """One page of the results of a job's files."""

    failed_count: NonNegativeInt
    """How many items of the job have failed so far."""
    results: list[FileResultOut]
    """The results of this page, in the order of the request."""
    next_cursor: NonNegativeInt | None
    """The `cursor` of the next page; null if the job is finished and this is the last page."""


def failed_file(index: int, name: str | None, problem: Problem) -> FileResultOut:
    """Return the result of a file that has a problem."""
    return FileResultOut(index=index, name=name, recognition=None, error=problem)


def describe(
    recognition: Recognition, options: RecognitionOptions, corrections: Sequence[TextResultOut | None] = ()
) -> RecognitionOut:
    """Return the answer for a recognition; `corrections` has one result for each page, or is empty."""
    pages = [
        PageOut.model_validate(page | {"corrected": corrected or _by_dictionary(page)})
        for page, corrected in zip_longest(recognition.pages, corrections)
    ]
    return RecognitionOut(
        text=PAGE_BREAK.join(_best_text(page) for page in pages),
        truncated_by_evaluation=any(page.truncated_by_evaluation for page in pages),
        pages=pages,
        settings=ReadingSettingsOut.model_validate(options),
        engine_seconds=round(recognition.seconds, 3),
    )


def _best_text(page: PageOut) -> str:
    return page.corrected.text if page.corrected and page.corrected.text is not None else page.text


def _by_dictionary(page: dict[str, Any]) -> TextResultOut | None:
    """Return the result of the correction by a dictionary, which is part of the recognition; None without one."""
    text = page.get("corrected_by_dictionary")
    return None if text is None else TextResultOut(text=text, diff=None, error=None)
