"""Measures the peak memory of recognition, for sizes of pages, formats of files, and options.

    python benchmarks/recognition_memory.py

Takes five minutes of CPU. Needs the native libraries (`python -m app provision`). Each row has a new engine process,
which loads the vendor's networks and recognises one page. *Prepared* is the peak of a call that is refused after the
page was prepared, so it is the service's own share. *Vendor alone* is the peak of a process that calls the vendor's
library for the same page and does nothing else.
"""

import tempfile
from dataclasses import dataclass, field
from pathlib import Path

from common import print_table
from PIL import Image, ImageDraw, ImageFont
from recognisers import MB, Cost, Reader, encoded, vendor_alone

A4 = 8.27, 11.69
"""Width and height in inches."""
LINES = [
    f"{number}. The harbour was quiet when the first boats came home, and nobody saw the storm."
    for number in range(10, 22)
]
POINTS = 11


@dataclass(frozen=True)
class Row:
    """One file and the options that it is read with."""

    dots_per_inch: int
    form: str = "PNG, grey"
    options: dict[str, str] = field(default_factory=dict)
    is_read_alone: bool = False
    is_small: bool = False

    @property
    def name(self) -> str:
        """What is read."""
        return (
            "760 x 230 pixels, 4 lines" if self.is_small else f"A4, {self.dots_per_inch} dpi, 12 lines"
        ) + f", {self.form}"

    @property
    def shown_options(self) -> str:
        """The options, as in a query."""
        return " ".join(f"`{name}={value}`" for name, value in self.options.items()) or "none"


ROWS = [
    Row(150, is_small=True, is_read_alone=True),
    Row(150, is_read_alone=True),
    Row(300, is_read_alone=True),
    Row(600, is_read_alone=True),
    Row(300, "PNG, RGB"),
    Row(300, "JPEG, RGB"),
    Row(300, "TIFF, 1 bit"),
    Row(300, "PDF of a JPEG"),
    Row(600, "PDF of a JPEG"),
    Row(150, options={"upscale": "true"}),
    Row(300, options={"upscale": "true"}),
    Row(150, options={"filters": "scale:2"}),
    Row(150, options={"mode": "fast"}),
    Row(300, options={"mode": "fast"}),
    Row(150, options={"areas": "lean"}),
    Row(300, options={"areas": "lean"}),
    Row(150, options={"kind": "passport"}),
    Row(300, options={"auto_skew": "true"}),
    Row(300, options={"detect_skew": "true"}),
    Row(300, options={"regions": "100,100,2200,800"}),
    Row(300, options={"format": "pdf"}),
    Row(300, options={"format": "docx"}),
]
FORMS = {
    "PNG, grey": ("L", "PNG"),
    "PNG, RGB": ("RGB", "PNG"),
    "JPEG, RGB": ("RGB", "JPEG"),
    "TIFF, 1 bit": ("1", "TIFF"),
    "PDF of a JPEG": ("RGB", "PDF"),
}
COMPRESSION = {"TIFF": {"compression": "group4"}}


def main() -> None:
    """Read every row and print the table."""
    rows = []
    with tempfile.TemporaryDirectory() as scratch, Reader(Path(scratch)) as service:
        for row in ROWS:
            image = file_of(row)
            service.replace_engine()
            refused, prepared = service.read(image, regions="0,0,1,90000")
            assert refused.status_code == 422, refused.text  # noqa: S101
            response, cost = service.read(image, **row.options)
            response.raise_for_status()
            alone = f"{peak_alone(Path(scratch), image) / MB:,.0f}" if row.is_read_alone else ""
            cells = f"{len(image) / 1e3:,.0f}", f"{prepared.peak_bytes / MB:,.0f}", f"{cost.peak_bytes / MB:,.0f}"
            rows.append((row.name, row.shown_options, *cells, alone, f"{cost.cpu_seconds:.1f}"))
            print(*rows[-1], sep=" | ", flush=True)
    heads = "page", "options", "file, kB", "prepared, MB", "peak, MB", "vendor alone, MB", "CPU s"
    print_table("Peak memory of the engine process", heads, rows)


def file_of(row: Row) -> bytes:
    """Return the file of a row."""
    dots = row.dots_per_inch
    width, height = A4
    size = (760, 230) if row.is_small else (round(width * dots), round(height * dots))
    points = 22 if row.is_small else POINTS * dots // 72
    image, letters = Image.new("RGB", size, "white"), ImageFont.load_default(points)
    for number, line in enumerate(LINES[: 4 if row.is_small else None]):
        place = (points * 2, (2 if row.is_small else points * 4) + number * points * 2)
        ImageDraw.Draw(image).text(place, line[: 60 if row.is_small else None], fill="black", font=letters)
    mode, kind = FORMS[row.form]
    return encoded(
        image.convert(mode),
        kind,
        **COMPRESSION.get(kind, {}),
        **({"resolution": dots} if kind == "PDF" else {"dpi": (dots, dots)}),
    )


def peak_alone(folder: Path, image: bytes) -> float:
    """Return the peak of a new process that calls the vendor's library."""
    file = folder / "alone.png"
    file.write_bytes(image)
    with vendor_alone(folder) as read:
        cost: Cost = read(file)
    return cost.peak_bytes


if __name__ == "__main__":
    main()
