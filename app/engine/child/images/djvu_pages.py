"""Renders the pages of a DjVu document with djvu-rs, a decoder in Rust. Sizes are checked before pixels are decoded."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import djvu_rs
from PIL import Image

from app.engine.child.images.image_sizes import check_size
from app.engine.child.images.upright_images import DecodedPage
from app.engine.contract.recognition_call import ImageLimits
from app.errors import UnreadableImage


class DjvuPages:
    """The pages of one open document."""

    def __init__(self, document: djvu_rs.Document) -> None:
        self._document = document

    def __len__(self) -> int:
        return int(self._document.page_count())

    def render(self, number: int, limits: ImageLimits) -> DecodedPage:
        """Render page `number`, counted from 1, at its own resolution and turned as the document says.

        Raises ImageError, and djvu_rs.Error for a broken page.
        """
        with _without_panics():
            page = self._document.page(number - 1)
            check_size(page.width, page.height, limits)
            pixels = page.render()
        check_size(pixels.width, pixels.height, limits)
        image: Image.Image = pixels.to_pil_zerocopy().convert("RGB")
        return DecodedPage(_grey_if_possible(image), float(page.dpi) or None, [])


def _grey_if_possible(image: Image.Image) -> Image.Image:
    """Return a grey image if the image has no colours, as scans of books have none."""
    colours = image.getcolors(256)
    is_grey = colours is not None and all(isinstance(colour, tuple) and len(set(colour)) == 1 for _, colour in colours)
    return image.convert("L") if is_grey else image


def open_djvu(path: Path) -> DjvuPages:
    """Open a DjVu document. Raises UnreadableImage, and djvu_rs.Error for a broken document."""
    with _without_panics():
        return DjvuPages(djvu_rs.Document.from_bytes(path.read_bytes()))


@contextmanager
def _without_panics() -> Iterator[None]:
    """Raise UnreadableImage for a panic of Rust code, which is a BaseException and would end this process."""
    try:
        yield
    except BaseException as exc:
        if type(exc).__name__ != "PanicException":
            raise
        raise UnreadableImage("the DjVu document is broken") from exc
