"""The vendor's calls that read an image. The options of a recognition choose the call, its settings and its filters.

docs/recognition.md has the measurements of each option.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aspose.ocr import (
    AsposeOcr,
    CarPlateRecognitionSettings,
    DetectAreasMode,
    IDCardRecognitionSettings,
    InvoiceRecognitionSettings,
    Language,
    OcrInput,
    OcrOutput,
    PassportRecognitionSettings,
    ReceiptRecognitionSettings,
    RecognitionSettings,
    Rectangle,
)
from aspose.ocr.models.preprocessingfilters import PreprocessingFilter
from aspose.ocr.spellchecker import SpellCheckLanguage

from app.engine.contract.reading_options import FilterName, ReadingKind, ReadingMode
from app.engine.contract.recognition_call import RecognitionOptions
from app.errors import UnknownLanguage

CALLS: dict[ReadingKind, tuple[str, Callable[[], Any]]] = {
    ReadingKind.RECEIPT: ("recognize_receipt", ReceiptRecognitionSettings),
    ReadingKind.INVOICE: ("recognize_invoice", InvoiceRecognitionSettings),
    ReadingKind.ID_CARD: ("recognize_id_card", IDCardRecognitionSettings),
    ReadingKind.PASSPORT: ("recognize_passport", PassportRecognitionSettings),
    ReadingKind.CAR_PLATE: ("recognize_car_plate", CarPlateRecognitionSettings),
}
"""By kind of image, the vendor's method that reads the kind, and the class of the method's settings. Kinds without such
a pair are not listed."""
FILTERS: dict[FilterName, Callable[..., Any]] = {
    FilterName.BINARIZE: PreprocessingFilter.binarize,
    FilterName.THRESHOLD: lambda value: PreprocessingFilter.threshold(int(value)),
    FilterName.INVERT: PreprocessingFilter.invert,
    FilterName.GRAYSCALE: PreprocessingFilter.to_grayscale,
    FilterName.MEDIAN: PreprocessingFilter.median,
    FilterName.DILATE: PreprocessingFilter.dilate,
    FilterName.SCALE: lambda factor: PreprocessingFilter.scale(float(factor)),
    FilterName.RESIZE: lambda width, height: PreprocessingFilter.resize(int(width), int(height)),
    FilterName.ROTATE: lambda angle: PreprocessingFilter.rotate(float(angle)),
}
"""The vendor's filter for each name. The vendor's `contrast_correction_filter` is left out: it makes pale text
disappear."""


@dataclass(frozen=True, slots=True)
class FastResult:
    """A page that the vendor's fast call has read.

    The call returns only texts; this class adds the attributes that results of the other calls have.
    """

    recognition_text: str
    serializable_image: None = None
    recognition_lines_result: list[Any] = field(default_factory=list)
    recognition_regions_result: list[Any] = field(default_factory=list)


def read(source: OcrInput, options: RecognitionOptions) -> OcrOutput | list[FastResult]:
    """Let the vendor read the pages of an input. Raises UnknownLanguage, and RuntimeError for a vendor's error."""
    vendor = AsposeOcr()
    if options.mode == ReadingMode.FAST:
        return [FastResult(str(text)) for text in vendor.recognize_fast(source)]
    if options.kind == ReadingKind.HANDWRITING:
        return vendor.recognize_handwritten_text(source)
    if options.kind in CALLS:
        method, settings = CALLS[options.kind]
        return getattr(vendor, method)(source, _with_common(settings(), options))
    return vendor.recognize(source, _settings(options))


def filters_of(options: RecognitionOptions) -> PreprocessingFilter:
    """Return the vendor's filters for these options, in the order in which the vendor applies them."""
    filters = PreprocessingFilter()
    for each in options.filters:
        filters.add(FILTERS[each.name](*each.values))
    if options.auto_skew:
        filters.add(PreprocessingFilter.auto_skew())
    return filters


def correct(text: str, dictionary: str) -> str:
    """Return the text with each word that the dictionary lacks replaced by the most similar one."""
    language = getattr(SpellCheckLanguage, dictionary.upper())
    return str(AsposeOcr().correct_spelling(text, language, None)) if text.strip() else text


def _settings(options: RecognitionOptions) -> RecognitionSettings:
    settings = _with_common(RecognitionSettings(), options)
    settings.detect_areas_mode = getattr(DetectAreasMode, options.areas.upper())
    settings.upscale_small_font = options.upscale
    settings.recognize_single_line = options.kind == ReadingKind.LINE
    if options.regions:
        settings.recognition_areas = [Rectangle(each.x, each.y, each.width, each.height) for each in options.regions]
    return settings


def _with_common(settings: Any, options: RecognitionOptions) -> Any:  # noqa: ANN401 - the vendor's classes have no types
    """Set those options that every class of the vendor's settings has, and return the settings.

    Raises UnknownLanguage.
    """
    if options.language not in (known := [name.lower() for name in dir(Language) if name.isupper()]):
        raise UnknownLanguage(options.language, " ".join(known))
    settings.language = getattr(Language, options.language.upper())
    # The vendor takes None for "no rule", but not as a value to set.
    if options.allowed_characters:
        settings.allowed_symbols = options.allowed_characters
    if options.ignored_characters:
        settings.ignored_symbols = options.ignored_characters
    return settings
