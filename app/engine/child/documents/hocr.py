"""Recognised pages as hOCR 1.2 (XHTML), with a box for each page, paragraph, line and word.

The vendor's own hOCR has width and height of the page exchanged, whole lines as words, and a confidence that is
always 0. There is no confidence here, because the vendor gives none.
"""

from collections.abc import Sequence
from xml.sax.saxutils import escape, quoteattr

from app.engine.child.documents.pages import Box, Page, PlacedLine
from app.engine.child.documents.words import is_right_to_left, words_of

HEAD = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml"{lang}>
<head>
<title>Recognised text</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8" />
<meta name="ocr-system" content="Aspose.OCR" />
<meta name="ocr-number-of-pages" content="{count}" />
<meta name="ocr-capabilities" content="ocr_page ocr_carea ocr_par ocr_line ocrx_word" />
{langs}</head>
<body>
"""


def hocr_of(pages: Sequence[Page], tag: str | None) -> str:
    """Return the hOCR of pages. `tag` is the BCP 47 tag of their language, or None."""
    lang = f" lang={quoteattr(tag)} xml:lang={quoteattr(tag)}" if tag else ""
    langs = f'<meta name="ocr-langs" content={quoteattr(tag)} />\n' if tag else ""
    head = HEAD.format(lang=lang, langs=langs, count=len(pages))
    return head + "".join(_page(page, lang) for page in pages) + "</body>\n</html>\n"


def _page(page: Page, lang: str) -> str:
    paragraphs = page.placed_paragraphs()
    boxes = [line.box for lines in paragraphs for line in lines]
    name = str(page.number)
    shown = "".join(_paragraph(lines, f"{name}_{n}", lang) for n, lines in enumerate(paragraphs, 1))
    area = (
        f'<div class="ocr_carea" id="block_{name}" title="{_bbox(Box.around(boxes))}">\n{shown}</div>\n'
        if boxes
        else ""
    )
    title = f"{_bbox(Box(0, 0, page.width, page.height))}; ppageno {page.number - 1}"
    return f'<div class="ocr_page" id="page_{name}" title="{title}">\n{area}</div>\n'


def _paragraph(lines: Sequence[PlacedLine], name: str, lang: str) -> str:
    shown = "".join(_line(line, f"{name}_{n}") for n, line in enumerate(lines, 1))
    direction = "rtl" if is_right_to_left(lines[0].text) else "ltr"
    title = _bbox(Box.around([line.box for line in lines]))
    return f'<p class="ocr_par" id="par_{name}"{lang} dir="{direction}" title="{title}">\n{shown}</p>\n'


def _line(line: PlacedLine, name: str) -> str:
    words = " ".join(
        f'<span class="ocrx_word" id="word_{name}_{n}" title="{_bbox(word.box)}">{escape(word.text)}</span>'
        for n, word in enumerate(words_of(line), 1)
    )
    return f'<span class="ocr_line" id="line_{name}" title="{_bbox(line.box)}; baseline 0 0">{words}</span>\n'


def _bbox(box: Box) -> str:
    return f"bbox {round(box.x)} {round(box.y)} {round(box.right)} {round(box.bottom)}"
