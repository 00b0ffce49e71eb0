"""Recognition of images by the vendor's AsposeOcr. Each call blocks and holds the GIL."""

import json
import time
from collections.abc import Callable
from itertools import count as count_from
from itertools import repeat
from pathlib import Path
from typing import Any

from aspose.ocr import (
    AsposeOcr,
    DetectAreasMode,
    InputType,
    Language,
    License,
    OcrInput,
    OcrOutput,
    RecognitionSettings,
    SaveFormat,
)
from aspose.ocr.models.preprocessingfilters import PreprocessingFilter

from app.engine.child import aspose_ocr_models, results
from app.engine.contract.image_formats import PDF, TIFF
from app.engine.contract.recognition_call import PAGES_FILE, ImageLimits, RecognitionOptions
from app.errors import UnknownLanguage, UnreadableImage

INPUT_TYPES = {PDF: InputType.PDF, TIFF: InputType.TIFF}
"""The formats that can have several pages. An image of any other format is one page."""


def recognise(
    image: Path,
    media_type: str | None,
    options: RecognitionOptions,
    limits: ImageLimits,
    tables_in: Callable[[OcrOutput], list[str]],
) -> dict[str, Any]:
    """Write the pages, and the document if requested, beside the image. Return `seconds` and `document` (a file name).

    `tables_in` returns each page of an output as a table. Raises ImageError.
    """
    from app.engine.child.images import image_checks  # noqa: PLC0415 - Pillow and pypdf would be half of every start

    began = time.perf_counter()
    kind, first, count = image_checks.examine(image, media_type, options.pages, limits)
    source = OcrInput(INPUT_TYPES.get(kind, InputType.SINGLE_IMAGE), _filters(options))
    source.add(str(image), first, count) if kind in INPUT_TYPES else source.add(str(image))
    document = f"document.{options.save_as.lower()}" if options.save_as else None
    try:
        output = AsposeOcr().recognize(source, _settings(options))
        if kind in INPUT_TYPES and (found := len(list(output))) < count:
            # Of a PDF with a missing page object the vendor reads no page, without an error.
            raise UnreadableImage(f"the engine found {found} of the {count} pages")
        pages = _pages(source, output, first + 1, tables_in(output) if options.tables else None, options)
        if options.save_as:
            saved = str(image.with_name(str(document)))
            AsposeOcr.save_multipage_document(saved, getattr(SaveFormat, options.save_as), output)
    except RuntimeError as exc:
        raise aspose_ocr_models.refusal(exc) or results.refusal(exc) or exc from exc
    image.with_name(PAGES_FILE).write_text(json.dumps(pages))
    return {"seconds": time.perf_counter() - began, "document": document}


def _pages(
    source: OcrInput, output: OcrOutput, first: int, tables: list[str] | None, options: RecognitionOptions
) -> list[dict[str, Any]]:
    """Return the fields of each page; `first` is the number of the first page."""
    skews = [page.angle for page in AsposeOcr().calculate_skew(source)] if options.auto_skew else repeat(None)
    is_licensed = bool(License().is_licensed)
    return [
        results.page_fields(page, number, is_licensed=is_licensed, skew=skew, table=table)
        for number, page, skew, table in zip(count_from(first), output, skews, tables or repeat(None), strict=False)
    ]


def _settings(options: RecognitionOptions) -> RecognitionSettings:
    settings = RecognitionSettings()
    if options.language not in (known := [name.lower() for name in dir(Language) if name.isupper()]):
        raise UnknownLanguage(options.language, " ".join(known))
    settings.language = getattr(Language, options.language.upper())
    settings.detect_areas_mode = getattr(DetectAreasMode, options.areas.upper())
    settings.upscale_small_font = options.upscale
    return settings


def _filters(options: RecognitionOptions) -> PreprocessingFilter:
    filters = PreprocessingFilter()
    if options.auto_skew:
        filters.add(PreprocessingFilter.auto_skew())
    return filters
