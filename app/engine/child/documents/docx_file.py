"""The recognised text as a Word document (DOCX)."""

from collections.abc import Sequence
from pathlib import Path

from docx import Document
from docx.document import Document as DocumentObject
from docx.enum.text import WD_BREAK

from app.engine.child.documents.pages import Page


def write_docx(target: Path, pages: Sequence[Page]) -> None:
    """Write the recognised pages as a Word document, with a page break between two pages.

    A page that is a table becomes a table of Word. Of any other page, each paragraph becomes a paragraph of Word, with
    a line break between two lines. The vendor's writer is not used: it puts a backslash before each bracket, as in
    `\\(1\\)`.
    """
    document = Document()
    for number, page in enumerate(pages):
        if number:
            document.add_paragraph().add_run().add_break(WD_BREAK.PAGE)
        if page.rows is not None:
            if page.rows:
                _add_table(document, page.rows)
            continue
        for lines in page.paragraphs():
            document.add_paragraph("\n".join(line.text for line in lines))
    document.save(str(target))


def _add_table(document: DocumentObject, rows: Sequence[Sequence[str]]) -> None:
    table = document.add_table(rows=len(rows), cols=max(map(len, rows), default=0) or 1, style="Table Grid")
    # One look-up of the cells for all: each look-up walks the whole table.
    cells, width = table._cells, len(table.columns)  # noqa: SLF001
    for number, row in enumerate(rows):
        for column, text in enumerate(row):
            cells[number * width + column].text = text
