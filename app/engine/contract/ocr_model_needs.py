"""Which functions of the vendor a recognition uses, and so whether it may open OCR models."""

from collections.abc import Iterator

from app.engine.contract.reading_options import FilterName, ReadingKind, ReadingMode
from app.engine.contract.recognition_call import RecognitionOptions
from app.engine.contract.wheel_facts import WheelFacts

METHODS = {
    ReadingKind.TEXT: "recognize",
    ReadingKind.LINE: "recognize",
    ReadingKind.RECEIPT: "recognize_receipt",
    ReadingKind.INVOICE: "recognize_invoice",
    ReadingKind.ID_CARD: "recognize_id_card",
    ReadingKind.PASSPORT: "recognize_passport",
    ReadingKind.CAR_PLATE: "recognize_car_plate",
    ReadingKind.HANDWRITING: "recognize_handwritten_text",
}
"""The vendor's method that reads each kind of document."""
FAST_METHOD = "recognize_fast"
SKEW_METHOD = "calculate_skew"
SKEW_FILTER = "auto_skew"
FILTERS = {name: str(name) for name in FilterName} | {FilterName.GRAYSCALE: "to_grayscale"}
"""The vendor's name of each filter."""


def may_open_ocr_models(options: RecognitionOptions, facts: WheelFacts) -> bool:
    """Return whether a recognition with these options may open OCR models.

    Returns False only if everything that the recognition uses works without any OCR model. A function that needs one
    may open further ones: the vendor names one missing file at a time.
    """
    return any(files is None or files for files in _needs(options, facts))


def _needs(options: RecognitionOptions, facts: WheelFacts) -> Iterator[tuple[str, ...] | None]:
    """Yield the OCR models of each function that the recognition uses; None for one that the facts do not have."""
    is_fast = options.mode == ReadingMode.FAST
    yield facts.methods.get(FAST_METHOD if is_fast else METHODS[options.kind])
    yield facts.languages.get(options.language)
    yield facts.areas.get(options.areas)
    if options.detects_skew or options.auto_skew:
        yield facts.methods.get(SKEW_METHOD)
    if options.auto_skew:
        yield facts.filters.get(SKEW_FILTER)
    for each in options.filters:
        yield facts.filters.get(FILTERS[each.name])
