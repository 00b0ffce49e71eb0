"""The TIFF files of the corpus."""

import io
from functools import partial

from PIL import Image, ImageOps, TiffImagePlugin

from app.errors import UnreadableImage
from tests.corpus.case import PAGE, Case, oriented, saved
from tests.support.files.hostile_images import page_tags, tiff

BILEVEL = PAGE.convert("1")
FAX = (204, 98)
"""The resolution of a fax in standard quality, in dots per inch."""


def compressed(name: str, image: Image.Image = PAGE) -> bytes:
    return saved(image, "TIFF", compression=name)


def in_orientation(orientation: int) -> bytes:
    image, _ = oriented(orientation)
    return saved(image, "TIFF", tiffinfo={274: orientation})


def several(*compressions: str) -> bytes:
    """Return a TIFF with a page in each compression."""
    file = io.BytesIO()
    with TiffImagePlugin.AppendingTiffWriter(file, new=True) as writer:
        for name in compressions:
            (BILEVEL if name.startswith("group") else PAGE).save(writer, "TIFF", compression=name)
            writer.newFrame()
    return file.getvalue()


def a_fax() -> bytes:
    squashed = PAGE.resize((PAGE.width, PAGE.height * FAX[1] // FAX[0])).convert("1")
    return saved(squashed, "TIFF", compression="group3", dpi=FAX)


def white_is_zero() -> bytes:
    """Return a TIFF of one bit a pixel in which 0 is white."""
    return saved(ImageOps.invert(PAGE).convert("1"), "TIFF", tiffinfo={262: 0})


def numbers(mode: str, scale: float) -> bytes:
    """Return a TIFF whose pixels are numbers of another type."""
    scaled = PAGE.convert("F").point(lambda value: value * scale + 0)
    return saved(scaled.convert(mode), "TIFF")


def sixteen_bits() -> bytes:
    image = Image.new("I;16", PAGE.size)
    image.putdata([value * 257 for value in PAGE.tobytes()])
    return saved(image, "TIFF")


def half() -> bytes:
    content = saved(PAGE, "TIFF", compression="raw")
    return content[: len(content) // 2]


GREY = ("raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "lzma", "zstd", "jpeg")
TIFF_CASES = [
    *[Case(f"TIFF, {name}", partial(compressed, name)) for name in GREY],
    *[Case(f"TIFF, {name}", partial(compressed, name, BILEVEL)) for name in ("tiff_ccitt", "group3", "group4")],
    *[Case(f"TIFF, orientation {n}", partial(in_orientation, n)) for n in range(2, 9)],
    Case("BigTIFF", lambda: saved(PAGE, "TIFF", big_tiff=True)),
    Case("BigTIFF, zstd", lambda: saved(PAGE, "TIFF", big_tiff=True, compression="zstd")),
    Case("TIFF, 16 bits", sixteen_bits),
    Case("TIFF, 32 bits", lambda: numbers("I", 1 << 20)),
    Case("TIFF, floating point from 0 to 1", lambda: numbers("F", 1 / 255)),
    Case("TIFF, floating point", lambda: numbers("F", 35.0)),
    Case("TIFF, RGB", lambda: saved(PAGE.convert("RGB"), "TIFF")),
    Case("TIFF, CMYK", lambda: saved(PAGE.convert("CMYK"), "TIFF")),
    Case("TIFF, JPEG in colour", lambda: compressed("jpeg", PAGE.convert("RGB"))),
    Case("TIFF, palette", lambda: saved(PAGE.quantize(16), "TIFF")),
    Case("TIFF, alpha", lambda: saved(Image.merge("LA", (PAGE.point([0] * 256), ImageOps.invert(PAGE))), "TIFF")),
    Case("TIFF, 0 is white", white_is_zero),
    Case("TIFF, a fax of 204 x 98 dots per inch", a_fax),
    Case("TIFF, three pages in three compressions", lambda: several("group4", "zstd", "tiff_lzw"), page_count=3),
    Case("TIFF, half", half, error=UnreadableImage),
    Case("TIFF without data", lambda: tiff(page_tags(side=1500)), error=UnreadableImage),
]
