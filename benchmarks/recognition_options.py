"""Tries each option, filter, kind and format of `POST /ocr` on a page made for it, beside tesseract's own such option.

    python benchmarks/recognition_options.py [WORDS...]

Prints the table of docs/recognition.md, or only the rows whose option has one of the words; takes six minutes of CPU.
Needs the native libraries (`python -m app provision`) and Debian's `tesseract-ocr` with `-deu`. Each page is read
without the option, then with it. Without a licence the engine returns only the beginning of a text; so the error rate
is that of the returned beginning, against the beginning of the true text that fits it best. Tesseract's text is cut to
the same length. CPU seconds and the peak of memory are those of an engine process that has read one other page, of one
line, and of tesseract's whole command.
"""

import io
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import httpx
from common import print_table
from option_cases import FORMATS, LINE, LONG, PAGE, ROWS, Row, Sheet
from pypdf import PdfReader
from recognisers import MB, Cost, Reader, error_rate, tesseract

from app.engine.contract.document_formats import DocumentFormat
from tests.engine.child.documents.test_formats import READERS

HEADS = (
    "option", "page", "error", "CPU s", "peak, MB", "result", "tesseract", "error", "CPU s", "peak, MB",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """What one call returned, and its cost."""

    text: str
    cost: Cost
    problem: str = ""
    """The type of the problem; empty if there is none."""
    more: str = ""
    """What the answer states besides the text."""


def main(words: list[str]) -> None:
    """Try the options, then the formats, and print the table."""
    rows: list[tuple[str, ...]] = []
    with tempfile.TemporaryDirectory() as scratch, Reader(Path(scratch)) as service:
        for cells in chain(options(service, words), formats(service, words, Path(scratch))):
            rows.append(cells)
            print(*cells, sep=" | ", flush=True)
    print_table("Each option, filter, kind and format: without it → with it", HEADS, rows)


def options(service: Reader, words: list[str]) -> Iterator[tuple[str, ...]]:
    """Try each option without and with it."""
    before: dict[tuple[object, ...], Outcome] = {}
    for row in ROWS:
        if words and not any(word in row.option for word in words):
            continue
        key = (row.sheet.name, *row.fixed.items())
        if key not in before:
            before[key] = by_service(service, row.sheet, row.fixed)
        without, with_it = before[key], by_service(service, row.sheet, row.query)
        lines = row.lines or row.sheet.lines
        errors = [] if with_it.problem else [error_rate(row.sheet.lines, without.text), error_rate(lines, with_it.text)]
        length = len(with_it.text) or len("\n".join(lines)) // 3
        yield (
            f"`{row.option if len(row.option) < 50 else row.option.partition('=')[0] + '=...'}`",
            row.sheet.name,
            *(shown(without.cost, with_it.cost, errors) if errors else ("", "", "")),
            result_of(without, with_it, errors),
            *tesseract_cells(row, length, lines),
        )


def by_service(service: Reader, sheet: Sheet, query: dict[str, str]) -> Outcome:
    """Read a page with a new engine process that has loaded the vendor's networks."""
    response, cost = read(service, sheet, query)
    if response.status_code != httpx.codes.OK:
        return Outcome("", cost, str(response.json()["type"]).rpartition(":")[2])
    (first, *_) = response.json()["pages"]
    corrected = (first.get("corrected") or {}).get("text")
    skew = first.get("skew_degrees")
    return Outcome(corrected or str(first["text"]), cost, more="" if skew is None else f"skew {skew:.1f}")


def read(service: Reader, sheet: Sheet, query: dict[str, str]) -> tuple[httpx.Response, Cost]:
    service.replace_engine()
    service.read(LINE.file)
    return service.read(sheet.file, **query)


def result_of(without: Outcome, with_it: Outcome, errors: list[float]) -> str:
    """Return in a few words what the option did."""
    if with_it.problem:
        return f"**failed**: `{with_it.problem}`"
    if without.text == with_it.text:
        did = "the same text"
    else:
        difference = errors[1] - errors[0]
        did = "better" if difference < -0.005 else "worse" if difference > 0.005 else "another text, as good"
    return ", ".join(part for part in (did, with_it.more) if part)


def shown(without: Cost, with_it: Cost, errors: Sequence[float]) -> tuple[str, str, str]:
    """Return the cells of errors, CPU seconds and peaks without and with an option."""
    return (
        " → ".join(f"{error:.1%}" for error in errors),
        f"{without.cpu_seconds:.1f} → {with_it.cpu_seconds:.1f}",
        f"{without.peak_bytes / MB:.0f} → {with_it.peak_bytes / MB:.0f}",
    )


def tesseract_cells(row: Row, length: int, lines: Sequence[str]) -> tuple[str, ...]:
    """Return the cells of tesseract: its option, the errors, CPU seconds and peaks."""
    outcomes = [tesseract(row.sheet.file, *row.other_before)]
    if row.other:
        outcomes.append(tesseract(row.sheet.file, *row.other, zones=row.zones))
    truths, errors = (row.sheet.lines, lines), []
    for truth, (content, _) in zip(truths, outcomes, strict=False):
        text = plain(content)
        degrees = text.partition("Orientation in degrees: ")[2].partition("\n")[0]
        errors.append(f"orientation {degrees}" if degrees else f"{error_rate(truth, text[:length]):.1%}")
    return (
        f"`{' '.join(row.other)}`" if row.other else "no such option",
        " → ".join(errors),
        " → ".join(f"{cost.cpu_seconds:.1f}" for _, cost in outcomes),
        " → ".join(f"{cost.peak_bytes / MB:.0f}" for _, cost in outcomes),
    )


def plain(content: bytes) -> str:
    """Return a text without its empty lines and form feeds."""
    return "\n".join(line for line in content.decode().replace("\f", "").splitlines() if line.strip())


def formats(service: Reader, words: list[str], folder: Path) -> Iterator[tuple[str, ...]]:
    """Ask for each format of the answer; the text is read from it by a library of another project."""
    chosen = {
        name: other for name, other in FORMATS.items() if not words or any(word in f"format={name}" for word in words)
    }
    for name, other in chosen.items():
        response, cost = read(service, PAGE, {"format": name})
        text = text_in(name, response.raise_for_status().content, folder)
        cells = [f"`format={name}`", PAGE.name, f"{error_rate(LONG, text):.1%}", f"{cost.cpu_seconds:.1f}"]
        cells += [f"{cost.peak_bytes / MB:.0f}", f"{len(text)} characters in {len(response.content) / 1e3:.1f} kB"]
        if not other:
            yield (*cells, "default" if name == "json" else "no such format", "", "", "")
            continue
        content, its_cost = tesseract(PAGE.file, *other)
        found = text_in(name, content, folder)[: len(text)]
        error = f"{error_rate(LONG, found):.1%}" if found else "not read"  # ALTO of another version
        yield (*cells, f"`{other[0]}`", error, f"{its_cost.cpu_seconds:.1f}", f"{its_cost.peak_bytes / MB:.0f}")


def text_in(name: str, content: bytes, folder: Path) -> str:
    """Return the text in a document of a format, one line below the other."""
    if name == "json":
        return str(httpx.Response(200, content=content).json()["text"])
    if name == "text":
        return plain(content)
    if name in {"pdf", "pdf_text"}:
        found = PdfReader(io.BytesIO(content)).pages[0].extract_text().splitlines()
    else:
        file = folder / "document"
        file.with_suffix(f".{name}").write_bytes(content)
        found = READERS[DocumentFormat(name)](file.with_suffix(f".{name}"))
    return "\n".join(" ".join(line.split()) for line in found if line.strip())


if __name__ == "__main__":
    main(sys.argv[1:])
