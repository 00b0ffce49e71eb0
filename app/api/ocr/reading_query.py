"""The options of `POST /ocr`, and which of them go together."""

from collections.abc import Iterator, Mapping
from enum import StrEnum
from typing import Annotated

from fastapi.exceptions import RequestValidationError
from pydantic import Field
from pydantic.json_schema import SkipJsonSchema

from app.api.http.schema import InlineEnum
from app.api.images.documents import AnswerFormat
from app.api.images.options.image_query import ImageQuery
from app.api.images.options.regions import REGIONS, regions_of
from app.api.images.options.vendor_names import FACTS, AreasName
from app.api.jobs.webhooks import WEBHOOK, WebhookUrl
from app.engine.contract.document_formats import WITHOUT_PLACES, DocumentFormat
from app.engine.contract.reading_options import ReadingKind, ReadingMode
from app.engine.contract.recognition_call import RecognitionOptions
from app.jobs.records import Priority


class Correction(StrEnum):
    """How the recognised text is corrected."""

    NO = "false"
    MODEL = "true"
    """By a local language model."""
    DICTIONARY = "dictionary"
    """Word by word by a dictionary, which needs no model."""


class ReadingQuery(ImageQuery):
    """How to recognise text."""

    kind: InlineEnum[ReadingKind] = ReadingKind.TEXT
    """What the image shows. `line` is one line of text. All but `text`, `line` and `passport` need an OCR model."""
    mode: InlineEnum[ReadingMode] = ReadingMode.ACCURATE
    """`fast` takes less time and makes more errors; the answer has the text only, without lines and boxes."""
    areas: AreasName = "universal"
    """How to find text on a page. All but `universal` and `lean` need an OCR model."""
    regions: Annotated[str | SkipJsonSchema[None], REGIONS] = None
    """The only parts of each page to read, in this order: rectangles as x,y,width,height in pixels of the page, with
    slashes between them, such as `10,20,300,40/10,80,300,40`. If filters change the size, these are pixels of the page
    after the filters."""
    allowed_characters: Annotated[str | SkipJsonSchema[None], Field(min_length=1, max_length=1000)] = None
    """The only characters that the text may have, such as `0123456789`. In place of any other character the engine
    gives the most similar allowed one."""
    ignored_characters: Annotated[str | SkipJsonSchema[None], Field(min_length=1, max_length=1000)] = None
    """Characters that the text must not have."""
    detect_skew: bool = False
    """Measure the skew of each page before the filters (`skew_degrees`), without turning the page."""
    format: Annotated[InlineEnum[AnswerFormat] | SkipJsonSchema[None], Field()] = None
    """The format of the answer; it takes precedence over `Accept`. `pdf_text` is the text layer of `pdf` alone, to lay
    over another PDF of the same pages. A job takes only `json`."""
    correct: InlineEnum[Correction] = Correction.NO
    """`true`: correct the text with a local language model, as `POST /ai/spell-check` does; only for JSON and plain
    text, not in a job. `dictionary`: correct it word by word with the dictionary of `language`, without a model; only
    for JSON and plain text."""

    webhook: Annotated[WebhookUrl, Field(description=WEBHOOK)] = None
    priority: InlineEnum[Priority] = Priority.NORMAL
    """The class of a job: files of `high` jobs are read first, those of `low` ones last."""

    def to_options(self, save_as: str | None) -> RecognitionOptions:
        """Return the engine's options. `save_as` is the engine's name of the document format to write, or None."""
        return RecognitionOptions(
            language=self.language,
            areas=self.areas,
            auto_skew=self.auto_skew,
            upscale=self.upscale,
            pages=self.page_ranges,
            save_as=save_as,
            kind=self.kind,
            mode=self.mode,
            filters=self.image_filters,
            regions=() if self.regions is None else regions_of(self.regions),
            allowed_characters=self.allowed_characters,
            ignored_characters=self.ignored_characters,
            detects_skew=self.detect_skew,
            dictionary=self.language if self.correct == Correction.DICTIONARY else None,
        )

    def require_consistent(self) -> None:
        """Raise RequestValidationError if one option would make the engine ignore another option."""
        _refuse(self._contradictions())

    def require_fit_for(self, document_format: DocumentFormat) -> None:
        """Raise RequestValidationError for an option that documents of this format cannot follow."""
        _refuse(self._beyond(document_format))

    def _beyond(self, document_format: DocumentFormat) -> Iterator[tuple[str, str]]:
        advice = "; ask for JSON or text, or leave it out"
        if self.mode == ReadingMode.FAST and document_format not in WITHOUT_PLACES:
            others = ", ".join(sorted(WITHOUT_PLACES))
            reason = f"the fast mode does not say where a line is, and {document_format} must state it"
            yield "mode", f"{reason}; ask for {others}, JSON or text, or leave it out"
        if self.correct != Correction.NO:
            yield "correct", f"documents are not corrected{advice}"
        if self.detect_skew:
            yield "detect_skew", f"documents do not state the skew{advice}"

    def _contradictions(self) -> Iterator[tuple[str, str]]:
        """Yield the names of options that would be ignored, and why."""
        if self.mode == ReadingMode.FAST:
            yield from self._ignored("mode=fast", IGNORED_BY_FAST)
        elif self.kind != ReadingKind.TEXT:
            yield from self._ignored(f"kind={self.kind}", IGNORED_BY_KIND[self.kind])
        elif self.regions is not None:
            yield from self._ignored("regions", ("auto_skew", "areas"))
        if self.correct == Correction.DICTIONARY and self.language not in FACTS.dictionaries:
            yield (
                "correct",
                f"there is no dictionary for language={self.language}; there are: {', '.join(FACTS.dictionaries)}",
            )

    def _ignored(self, by: str, names: tuple[str, ...]) -> Iterator[tuple[str, str]]:
        for name in names:
            if getattr(self, name) != type(self).model_fields[name].default:
                yield name, f"the engine ignores it with {by}; leave out one of the two"


def _refuse(wrong: Iterator[tuple[str, str]]) -> None:
    if errors := [{"loc": ("query", name), "msg": message} for name, message in wrong]:
        raise RequestValidationError(errors)


COMMON = ("areas", "upscale", "regions")
"""The options that the vendor's calls for most kinds of documents ignore; `kind=line` does not ignore `upscale`."""
IGNORED_BY_FAST = ("kind", "language", *COMMON, "allowed_characters", "ignored_characters")
"""The options that `mode=fast` would ignore: the vendor's fast call takes an input and no settings."""
IGNORED_BY_KIND: Mapping[ReadingKind, tuple[str, ...]] = {
    ReadingKind.LINE: ("areas", "regions", "auto_skew"),
    ReadingKind.RECEIPT: COMMON,
    ReadingKind.INVOICE: COMMON,
    ReadingKind.ID_CARD: COMMON,
    ReadingKind.PASSPORT: (*COMMON, "allowed_characters"),
    ReadingKind.CAR_PLATE: COMMON,
    ReadingKind.HANDWRITING: ("language", *COMMON, "allowed_characters", "ignored_characters"),
}
"""The options that the vendor's call for a kind does not take, or turns off."""
