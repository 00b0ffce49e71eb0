"""Pages as the engine recognises them, with known lines; a page with a licence has all its lines with their places."""

from pathlib import Path
from typing import Any

from PIL import Image

from app.engine.child.documents import write_document
from app.engine.child.documents.source import Source
from app.engine.child.images.preparation import prepare
from app.engine.contract.document_formats import DocumentFormat
from app.engine.contract.recognition_call import ImageLimits

GERMAN = ("Größe über alles: die Äpfel fallen (1)", "Straße 12, München", "ohne Umlaut")
FRENCH = ("Été à Noël, déjà cœur naïf", "« Ça coûte 30 € »")
POLISH = ("Zażółć gęślą jaźń", "Pchnąć w tę łódź jeża")
TURKISH = ("Pijamalı hasta yağız şoföre", "İstanbul'un ığdır çağrısı")  # noqa: RUF001
SCRIPTS = (
    "Съешь ещё этих мягких булок",
    "Ξεσκεπάζω την ψυχοφθόρα βδελυγμία",
    "नमस्ते दुनिया कैसे हैं",
    "สวัสดีชาวโลก",
    "日本語の文字 と 漢字",
    "한국어 문장",
    "𝒜𝓁𝓅𝒽𝒶 😀 beyond two bytes",  # noqa: RUF001
    "e\u0301tude with combining o\u0308",
)
SIGNS = (r"a*b_c [x] <tag> & \(1\) | {y} # ~ `z`", "1. no list", "- no list", "# no head", "=1+1", "\ud800 \x01 no XML")
SIZE = 1000, 800
"""Width and height of a page in pixels."""


def fields(*lines: str, number: int = 1, **changed: object) -> dict[str, Any]:
    """Return the fields of a page whose lines are 30 pixels high, 50 apart, and as wide as they are long."""
    placed = [
        {"text": line, "box": {"x": 60, "y": 40 + 50 * n, "width": 16 * len(line), "height": 30}}
        for n, line in enumerate(lines)
    ]
    page: dict[str, Any] = {
        "number": number,
        "width": SIZE[0],
        "height": SIZE[1],
        "text": "\n".join(lines),
        "skew_degrees": None,
        "truncated_by_evaluation": False,
        "lines": placed,
        "table": None,
    }
    return page | changed


def blank(folder: Path, name: str = "scan.png", resolution: float | None = 300, mode: str = "RGB", **save: Any) -> Path:
    """Write a white image of the size of the pages; return its path."""
    if resolution:
        save["dpi"] = (resolution, resolution)
    Image.new("RGB", SIZE, "white").convert(mode).save(folder / name, **save)
    return folder / name


def written(
    folder: Path,
    document_format: DocumentFormat,
    *pages: dict[str, Any],
    path: Path | None = None,
    language: str = "deu",
    password: str | None = None,
    turned_degrees: float = 0,
    is_deskewed: bool = False,
) -> Path:
    """Write a document of these pages, read from the file at `path` or from a white image; return its path."""
    target, sent = folder / f"document.{document_format}", path or blank(folder)
    numbers = [page["number"] for page in pages]
    prepared = prepare(sent, None, ImageLimits(4_000_000, 10), password) if sent.exists() else []
    source = Source(sent, [page for page in prepared if page.number in numbers], password, turned_degrees, is_deskewed)
    write_document(document_format, target, pages, source, language)
    return target
