"""Recognition of images by the vendor's AsposeOcr. Each call blocks and holds the GIL."""

import json
import time
from collections.abc import Callable
from dataclasses import asdict
from itertools import repeat
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aspose.ocr import (
    AsposeOcr,
    InputType,
    License,
    OcrInput,
    OcrOutput,
)

from app.engine.child import aspose_ocr_models, aspose_reading, results
from app.engine.contract.document_formats import DocumentFormat
from app.engine.contract.page_warnings import PageWarning
from app.engine.contract.reading_options import FilterName, ReadingKind
from app.engine.contract.recognition_call import PAGES_FILE, ImageLimits, RecognitionOptions
from app.errors import UnreadableImage

if TYPE_CHECKING:
    from app.engine.child.images.preparation import PreparedPage


def recognise(
    image: Path,
    options: RecognitionOptions,
    limits: ImageLimits,
    tables_in: Callable[[OcrOutput], list[str]],
    password: str | None = None,
) -> dict[str, Any]:
    """Write the pages, and the document if requested, beside the image. Return `seconds` and `document` (a file name).

    `tables_in` is a function that returns each page of an output as a table. Raises ImageError.
    """
    # Imported here, because Pillow, pypdf and PDFium would be half of every start.
    from app.engine.child.images.filtered_sizes import check_regions  # noqa: PLC0415
    from app.engine.child.images.preparation import prepare  # noqa: PLC0415

    began = time.perf_counter()
    prepared = prepare(image, options.pages, limits, password)
    for page in prepared:
        check_regions(page.size, options, limits)
    source = OcrInput(InputType.SINGLE_IMAGE, aspose_reading.filters_of(options))
    for page in prepared:
        source.add(str(page.path))
    try:
        output = aspose_reading.read(source, options)
        if (found := len(list(output))) < len(prepared):
            raise UnreadableImage(f"the engine read {found} of the {len(prepared)} pages")
        pages = _pages(source, output, prepared, tables_in(output) if options.tables else None, options)
    except RuntimeError as exc:
        raise aspose_ocr_models.refusal(exc) or results.refusal(exc) or exc from exc
    image.with_name(PAGES_FILE).write_text(json.dumps(pages))
    document = _document(image, prepared, password, pages, options)
    return {"seconds": time.perf_counter() - began, "document": document}


def _document(
    image: Path,
    prepared: list["PreparedPage"],
    password: str | None,
    pages: list[dict[str, Any]],
    options: RecognitionOptions,
) -> str | None:
    """Write the requested document beside the image; return the name of its file, or None if none is requested."""
    if options.save_as is None:
        return None
    # Imported here, because only some calls want a document.
    from app.engine.child.documents import write_document  # noqa: PLC0415
    from app.engine.child.documents.source import Source  # noqa: PLC0415

    name = f"document.{options.save_as}"
    turned = sum(each.values[0] for each in options.filters if each.name == FilterName.ROTATE)
    source = Source(image, prepared, password, turned, options.auto_skew)
    write_document(DocumentFormat(options.save_as), image.with_name(name), pages, source, options.language)
    return name


def _pages(
    source: OcrInput,
    output: OcrOutput,
    prepared: list["PreparedPage"],
    tables: list[str] | None,
    options: RecognitionOptions,
) -> list[dict[str, Any]]:
    """Return the fields of each recognised page, as `page_fields` makes them."""
    measures_skew = options.auto_skew or options.detects_skew
    skews = [page.angle for page in AsposeOcr().calculate_skew(source)] if measures_skew else repeat(None)
    is_licensed = bool(License().is_licensed)
    pages = [
        results.page_fields(
            result,
            page.number,
            is_licensed=is_licensed,
            skew=skew,
            table=table,
            regions=options.regions,
            warnings=_warnings(page, skew, options),
            source=page.source,
        )
        for page, result, skew, table in zip(prepared, output, skews, tables or repeat(None), strict=False)
    ]
    if options.kind not in {ReadingKind.TEXT, ReadingKind.LINE}:
        _unstretch(pages, prepared, options)
    _forgive_blank(pages, prepared)
    for fields in pages:
        found = results.character_warnings(fields["text"], options)
        found += results.evaluation_warnings(is_cut=fields["truncated_by_evaluation"])
        fields["warnings"] += [asdict(each) for each in found]
    if options.dictionary:
        for fields in pages:
            fields["corrected_by_dictionary"] = aspose_reading.correct(fields["text"], options.dictionary)
    return pages


def _unstretch(pages: list[dict[str, Any]], prepared: list["PreparedPage"], options: RecognitionOptions) -> None:
    from app.engine.child.images.filtered_sizes import size_after  # noqa: PLC0415 - with `prepare`, see above

    for fields, page in zip(pages, prepared, strict=True):
        size = page.size
        for each in options.filters:
            size = size_after(size, each)
        results.in_pixels_of_page(fields, size)


def _warnings(page: "PreparedPage", skew: float | None, options: RecognitionOptions) -> list[PageWarning]:
    """Return the warnings about a page: those of its preparation, and those about what may be misread on it.

    `skew` is what the vendor measured, or None. The skew is measured before the filters, so it tells nothing about a
    page that a filter turns.
    """
    from app.engine.child.page_quality.judgement import quality_of  # noqa: PLC0415 - with `prepare`, see above

    quality = quality_of(page.path)
    is_turned = options.auto_skew or any(each.name == FilterName.ROTATE for each in options.filters)
    degrees = None if is_turned else quality.skew_degrees if skew is None else skew
    return [*page.warnings, *results.skew_warnings(degrees), *quality.warnings(options)]


def _forgive_blank(pages: list[dict[str, Any]], prepared: list["PreparedPage"]) -> None:
    """Mark blank pages as not cut: without a licence the vendor adds the notice of a cut text to blank pages too."""
    from app.engine.child.images.blank_pages import is_blank  # noqa: PLC0415 - with `prepare`, see above

    for fields, page in zip(pages, prepared, strict=True):
        if fields["truncated_by_evaluation"] and not fields["text"].strip() and is_blank(page.path):
            fields["truncated_by_evaluation"] = False
