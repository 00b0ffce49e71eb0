"""What recognised text looks like on the wire."""

from collections.abc import Sequence
from itertools import zip_longest
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, NonNegativeFloat, NonNegativeInt, PositiveInt, model_validator
from pydantic.json_schema import SkipJsonSchema

from app.api.ai.schemas import ResultOut
from app.api.http.problem_types import Problem
from app.api.http.schema import Schema
from app.engine.contract.recognition import RecognitionOptions
from app.engine.recognition import Recognition

PAGE_BREAK = "\f"


class ImageQuery(BaseModel):
    """How to read an image, whatever is looked for."""

    model_config = ConfigDict(use_attribute_docstrings=True, extra="forbid")

    language: Annotated[str, Field(pattern="^[a-z_]{3,16}$")] = "latin"
    """A language (`eng`, `deu`, `fra`) or a script (`latin`, `ext_latin`). Only Latin script needs no further file."""
    auto_skew: bool = False
    """Turn skewed pages upright. The engine garbles some pages that are upright already."""
    upscale: bool = False
    """Enlarge small text first."""
    pages: Annotated[str | SkipJsonSchema[None], Field(pattern=r"^[1-9]\d{0,5}(-[1-9]\d{0,5})?$")] = None
    """Of a TIFF or PDF: one page (`3`), or the first and the last (`2-5`)."""

    @property
    def page_range(self) -> tuple[int, int] | None:
        """The first and the last page; None for all."""
        if self.pages is None:
            return None
        first, _, last = self.pages.partition("-")
        return int(first), int(last or first)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.page_range and self.page_range[0] > self.page_range[1]:
            raise ValueError("pages: the first page comes after the last")
        return self


class ReadingQuery(ImageQuery):
    """How to read its text."""

    areas: Literal["universal", "lean", "document_layout", "multicolumn", "table", "curved_text", "formula"] = (
        "universal"
    )
    """How to look for text. Only `universal` and `lean` need no further file."""
    correct: bool = False
    """Have a local language model correct the text, as `/ai/spell-check` does; for JSON and text."""


class BoxOut(Schema):
    """A place on a page, in pixels of the image that was read, from its upper left corner."""

    x: int
    """From the left."""
    y: int
    """From the top."""
    width: NonNegativeInt
    """To the right."""
    height: NonNegativeInt
    """Downwards."""


class LineOut(Schema):
    """One line, as the engine gives it."""

    text: str
    """What it says."""
    box: BoxOut
    """Where it is."""


class PageOut(Schema):
    """One page of a document, or an image."""

    number: PositiveInt
    """Counted from 1 in the document, whichever pages were asked for."""
    width: PositiveInt | None
    """Of the image that was read, in pixels; a page of a PDF as the engine rendered it."""
    height: PositiveInt | None
    """The same, downwards."""
    text: str
    """What the page says; in evaluation, the part of it that the engine gives."""
    corrected: ResultOut | None
    """What the spell check made of it; null without `correct`."""
    skew_degrees: float | None
    """What the engine takes for the skew of the page; null without `auto_skew`."""
    truncated_by_evaluation: bool
    """Whether the unlicensed engine has cut the text: to 300 characters, of a short page to less than a third.
    Of a single line it may give nothing."""
    lines: list[LineOut]
    """Its lines; the unlicensed engine gives some of a long page and none of a short one."""


class ReadingSettingsOut(Schema):
    """How the image was read."""

    language: str
    """The language or script."""
    areas: str
    """How the engine looked for text."""
    auto_skew: bool
    """Whether it turned the pages upright."""
    upscale: bool
    """Whether it enlarged small text first."""


class RecognitionOut(Schema):
    """What an image says."""

    text: str
    """The text of all pages, corrected where that was asked for and went well, a form feed between them."""
    truncated_by_evaluation: bool
    """Whether the text of any page is cut."""
    pages: list[PageOut]
    """The pages that were read, in order."""
    settings: ReadingSettingsOut
    """How they were read."""
    engine_seconds: NonNegativeFloat
    """How long the engine worked, without the wait for its turn."""


class FileOut(Schema):
    """What came of one file of a job."""

    name: str | None
    """What its sender called it."""
    recognition: RecognitionOut | None
    """What it says; null when it could not be read."""
    error: Problem | None
    """Why not."""


class RecognitionsOut(Schema):
    """What came of the files of a job."""

    failed_count: NonNegativeInt
    """How many have an error."""
    results: list[FileOut]
    """One for each file, in the order in which they came."""


class TablePageOut(Schema):
    """One page as a table."""

    number: PositiveInt
    """Counted from 1 in the document, whichever pages were asked for."""
    rows: list[list[str]]
    """The cells of each row, from the top, as the engine tells them apart."""
    truncated_by_evaluation: bool
    """Whether the unlicensed engine has cut the page: to the first rows, or to none."""


class TablesOut(Schema):
    """What the pages of a document are as tables."""

    truncated_by_evaluation: bool
    """Whether any page is cut."""
    pages: list[TablePageOut]
    """The pages that were read, in order."""
    engine_seconds: NonNegativeFloat
    """How long the engine worked, without the wait for its turn."""


def describe(
    recognition: Recognition, wish: RecognitionOptions, corrections: Sequence[ResultOut | None] = ()
) -> RecognitionOut:
    """A recognition for the wire; `corrections` are one for each page, or none."""
    pages = [
        PageOut.model_validate(page | {"corrected": corrected})
        for page, corrected in zip_longest(recognition.pages, corrections)
    ]
    return RecognitionOut(
        text=PAGE_BREAK.join(_best_text(page) for page in pages),
        truncated_by_evaluation=any(page.truncated_by_evaluation for page in pages),
        pages=pages,
        settings=ReadingSettingsOut.model_validate(wish),
        engine_seconds=round(recognition.seconds, 3),
    )


def _best_text(page: PageOut) -> str:
    return page.corrected.text if page.corrected and page.corrected.text is not None else page.text


def describe_tables(recognition: Recognition) -> TablesOut:
    """The tables of a recognition that was asked for them, for the wire."""
    pages = [
        TablePageOut(
            number=page["number"],
            rows=[row.split("\t") for row in page["table"].splitlines()],
            truncated_by_evaluation=page["truncated_by_evaluation"],
        )
        for page in recognition.pages
    ]
    return TablesOut(
        truncated_by_evaluation=any(page.truncated_by_evaluation for page in pages),
        pages=pages,
        engine_seconds=round(recognition.seconds, 3),
    )
