"""Converts the vendor's results of a recognition to JSON fields, without an import of the vendor's package."""

import re
import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from app.engine.contract.page_warnings import PageWarning, PageWarningCode
from app.engine.contract.reading_options import Region
from app.engine.contract.recognition_call import RecognitionOptions
from app.errors import (
    EncryptedPdf,
    ImageError,
    ImageTooLarge,
    UnreadableImage,
)

NOTICE = re.compile(r"(?:\s*\n \*+(?: T[rial Licens]*\**)?)?\s*\*{3,} Trial Licenses \*{3,}\s*\Z")
"""Matches the notice that an engine without a license appends to each text that it cuts. With regions and for passports
the engine appends the notice, cuts the text again, and appends the notice once more: then a part of the first notice is
left before the second."""

SKEW_DEGREES = 1.0
"""From this skew on, a page gets a warning: 2 degrees cost a tenth of the characters, see docs/recognition.md."""


def page_fields(
    result: Any,  # noqa: ANN401
    number: int,
    *,
    is_licensed: bool,
    skew: float | None,
    table: str | None = None,
    regions: Sequence[Region] = (),
    warnings: Iterable[PageWarning] = (),
    source: str | None = None,
) -> dict[str, Any]:
    """Return the JSON fields of one page from the vendor's result. `regions`: the regions that the caller chose.

    Without a license, the vendor's notice is removed from the text and reported as `truncated_by_evaluation`.
    """
    text = str(result.recognition_text or "").replace("\r\n", "\n")
    whole = text if is_licensed else NOTICE.sub("", text)
    width, height = _size(result.serializable_image)
    return {
        "number": number,
        "source": source,
        "width": width,
        "height": height,
        "text": whole.rstrip("\n"),
        "skew_degrees": skew,
        "truncated_by_evaluation": whole is not text and whole != text,
        "lines": list(_line_fields(result)),
        "regions": _region_fields(result, regions),
        "table": table,
        "warnings": [asdict(each) for each in warnings],
    }


def in_pixels_of_page(fields: dict[str, Any], size: tuple[int, int]) -> None:
    """Convert the size and the boxes in a page's fields to pixels of the page, which has `size` after the filters.

    For some kinds the vendor stretches the page before it reads it: a passport to 1000 x 1000 pixels (measured with
    26.10.0).
    """
    stretched = fields["width"], fields["height"]
    if None in stretched or stretched == size:
        return
    across, down = size[0] / stretched[0], size[1] / stretched[1]
    fields["width"], fields["height"] = size
    for each in (*fields["lines"], *fields["regions"]):
        box = each["box"]
        for start, extent, factor in (("x", "width", across), ("y", "height", down)):
            first, last = round(box[start] * factor), round((box[start] + box[extent]) * factor)
            box[start], box[extent] = first, last - first


def skew_warnings(degrees: float | None) -> list[PageWarning]:
    """Return a list with the warning about a page that is turned by SKEW_DEGREES or more; else an empty list."""
    if degrees is None or abs(degrees) < SKEW_DEGREES:
        return []
    detail = f"the page is turned by {degrees:.1f} degrees; filters=rotate:{degrees:.1f} turns it upright"
    return [PageWarning(PageWarningCode.SKEWED, detail)]


def evaluation_warnings(*, is_cut: bool) -> list[PageWarning]:
    """Return a list with the warning about a page whose text the engine has cut; else an empty list."""
    detail = (
        "the engine has no licence and has cut the text of this page; with a licence (OCR_LICENSE_FILE) it gives all"
    )
    return [PageWarning(PageWarningCode.TEXT_CUT_BY_EVALUATION, detail)] if is_cut else []


def character_warnings(text: str, options: RecognitionOptions) -> list[PageWarning]:
    """Return a list with the warning about a text with characters that the options exclude; else an empty list.

    The vendor ignores allowed characters of which the language gives none, such as accented letters with `latin`
    (measured with 26.10.0). White space between words and lines is always given.
    """
    allowed, ignored = options.allowed_characters, options.ignored_characters or ""
    excluded = {each for each in text if not each.isspace() and (each in ignored or (allowed and each not in allowed))}
    if not excluded:
        return []
    detail = (
        f"the text has characters that allowed_characters or ignored_characters exclude, such as {min(excluded)!r}; "
        f"the engine ignores allowed characters if language={options.language} gives none of them"
    )
    return [PageWarning(PageWarningCode.CHARACTERS_NOT_EXCLUDED, detail)]


def refusal(exc: RuntimeError) -> ImageError | None:
    """Return the ImageError for an error of the vendor, or None if the error is not about the image."""
    message = str(exc)
    if "InvalidPassword" in message:
        return EncryptedPdf()
    if "too large to create" in message or "System.OutOfMemoryException" in message:
        return ImageTooLarge("a page that does not fit into the engine's memory", "the memory that it can get")
    if "Error during open file" in message or "InvalidPdfFileFormat" in message:
        return UnreadableImage("the engine cannot open it")
    return None


def _line_fields(result: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    for line in result.recognition_lines_result or ():
        yield {"text": str(line.text_in_line).rstrip(), "box": _box_fields(line.line)}


def _region_fields(result: Any, regions: Sequence[Region]) -> list[dict[str, Any]]:  # noqa: ANN401
    """Return the fields of each requested region, in the order of the request.

    The vendor gives only regions with text, in the order of the request and with the requested boxes; without a licence
    not the last of them (measured with 26.10.0). The text of the others is empty.
    """
    given = [
        {"text": str(each.text_in_region).rstrip(), "box": _box_fields(each.region)}
        for each in (result.recognition_regions_result if regions else None) or ()
    ]
    found = []
    for region in regions:
        box = asdict(region)
        at = next((at for at, each in enumerate(given) if each["box"] == box), None)
        found.append({"text": "", "box": box} if at is None else given.pop(at))
    return found + given


def _box_fields(box: Any) -> dict[str, int]:  # noqa: ANN401
    return {"x": int(box.x), "y": int(box.y), "width": int(box.width), "height": int(box.height)}


def _size(image: bytearray | None) -> tuple[int | None, int | None]:
    """Return width and height of the image that the vendor read after the filters, to which the boxes refer.

    `image` is the PNG that the vendor's result has; (None, None) without one.
    """
    at = bytes(image[:64]).find(b"IHDR") if image else -1
    if image is None or at < 0:
        return None, None
    width, height = struct.unpack_from(">II", image, at + 4)
    return int(width), int(height)
