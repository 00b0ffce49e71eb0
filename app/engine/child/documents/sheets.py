"""Recognised pages as CSV and XLSX: the cells of tables, or one row for each line, with the line's box and text."""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path

from xlsxwriter import Workbook

from app.engine.child.documents.pages import Page

HEAD = ("page", "x", "y", "width", "height", "text")
"""The columns of a sheet of lines. Boxes are in pixels of the recognised image, and empty if the vendor does not state
them."""
MAX_CELL = 32_767
"""The most characters of a cell of XLSX."""

Cell = str | int


def write_csv(target: Path, pages: Sequence[Page]) -> None:
    """Write CSV (RFC 4180) in UTF-8. If the pages are tables, an empty line separates two pages."""
    with target.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for number, page in enumerate(pages):
            if page.rows is None:
                writer.writerows([*([] if number else [HEAD]), *_line_rows(page)])
            else:
                writer.writerows([*([[]] if number else []), *page.rows])


def write_xlsx(target: Path, pages: Sequence[Page]) -> None:
    """Write a workbook with a sheet for each page. Text stays text, also if it looks like a formula or a number."""
    with Workbook(str(target), {"strings_to_formulas": False, "strings_to_urls": False}) as book:
        for page in pages:
            sheet = book.add_worksheet(f"Page {page.number}")
            for at, row in enumerate([HEAD, *_line_rows(page)] if page.rows is None else page.rows):
                for column, cell in enumerate(row):
                    if isinstance(cell, int):
                        sheet.write_number(at, column, cell)
                    else:
                        sheet.write_string(at, column, cell[:MAX_CELL])


def _line_rows(page: Page) -> Iterator[Sequence[Cell]]:
    for line in page.lines:
        if line.text.strip():
            box = line.box
            place = (round(box.x), round(box.y), round(box.width), round(box.height)) if box else ("", "", "", "")
            yield (page.number, *place, line.text)
