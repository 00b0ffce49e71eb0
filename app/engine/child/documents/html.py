"""The recognised text as an HTML page."""

from collections.abc import Sequence
from html import escape

from app.engine.child.documents.pages import Page


def html_of(pages: Sequence[Page], tag: str | None) -> str:
    """Return one HTML page with a section for each page. `tag` is the BCP 47 tag of the language, or None."""
    sections = "".join(f'<section id="page-{page.number}">\n{content_of(page)}</section>\n' for page in pages)
    language = f' lang="{escape(tag)}"' if tag else ""
    return (
        f'<!DOCTYPE html>\n<html{language}>\n<head>\n<meta charset="utf-8">\n<title>Recognised text</title>\n</head>\n'
        f"<body>\n{sections}</body>\n</html>\n"
    )


def content_of(page: Page) -> str:
    """Return a page's paragraphs, or its table, as markup that is valid in HTML and in XHTML."""
    if page.rows is not None:
        cells = ("".join(f'<td dir="auto">{escape(cell)}</td>' for cell in row) for row in page.rows)
        return "<table>\n" + "".join(f"<tr>{row}</tr>\n" for row in cells) + "</table>\n"
    # `auto` shows Arabic and Hebrew from right to left.
    return "".join(
        f'<p dir="auto">{"<br/>".join(escape(line.text) for line in lines)}</p>\n' for lines in page.paragraphs()
    )
