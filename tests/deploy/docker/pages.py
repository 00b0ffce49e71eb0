"""The pages that the containers recognise."""

from pathlib import Path

from PIL import Image

from tests.support.service import ROOT

A4_600 = (4960, 7016)


def write_pages(folder: Path) -> None:
    """Write small.png, the first lines of the sample page, and large.png, an A4 page of 600 dots per inch with them."""
    with Image.open(ROOT / "docs/sample-page.png") as sample:
        lines = sample.crop((0, 0, sample.width, 120))
    lines.save(folder / "small.png", dpi=(100, 100))
    page = Image.new("L", A4_600, 255)
    page.paste(lines.resize((lines.width * 6, lines.height * 6)), (200, 200))
    page.save(folder / "large.png", dpi=(600, 600))
