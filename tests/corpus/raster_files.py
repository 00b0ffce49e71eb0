"""The files of the corpus that Pillow's formats other than TIFF hold."""

import struct
import zlib
from functools import partial
from pathlib import Path

from PIL import Image, ImageOps

from app.engine.contract.page_warnings import PageWarningCode
from app.errors import UnreadableImage, UnsupportedImage
from tests.corpus.case import PAGE, Case, oriented, saved

CUT_SHORT = (PageWarningCode.IMAGE_CUT_SHORT,)
FRAMES = (PageWarningCode.FRAMES_NOT_READ,)
OTHER = Image.new("L", PAGE.size, 200)
HEIC = Path(__file__).with_name("page.heic")
"""The page, turned by the format's own rotation. Nothing that the tests install writes HEIF."""


def in_orientation(kind: str, orientation: int) -> bytes:
    image, exif = oriented(orientation)
    return saved(image.convert("RGB"), kind, exif=exif.tobytes())


def png(rows: list[bytes], bits: int, colour: int, *chunks: tuple[bytes, bytes]) -> bytes:
    """Return a PNG of these rows of packed pixels; `colour` is PNG's number of the kind of colour."""
    header = struct.pack(">IIBBBBB", *PAGE.size, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    parts = ((b"IHDR", header), *chunks, (b"IDAT", data), (b"IEND", b""))
    framed = (struct.pack(">I", len(c)) + name + c + struct.pack(">I", zlib.crc32(name + c)) for name, c in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)


def grey_rows(bytes_of: list[bytes]) -> list[bytes]:
    """Return the page's rows; `bytes_of` has the bytes of a pixel for each value of grey."""
    values, width = PAGE.tobytes(), PAGE.width
    return [b"".join(bytes_of[value] for value in values[at : at + width]) for at in range(0, len(values), width)]


def sixteen_bit_png(channels: int) -> bytes:
    rows = grey_rows([struct.pack(">H", value * 257) * channels for value in range(256)])
    return png(rows, 16, {1: 0, 3: 2}[channels])


def twelve_bits_in_sixteen() -> bytes:
    return png(grey_rows([struct.pack(">H", value * 16) for value in range(256)]), 16, 0)


def transparent(ink: int, mode: str = "RGBA") -> Image.Image:
    """Return text of one grey on a transparent ground of the same grey."""
    image = Image.new("L", PAGE.size, ink).convert("RGBA" if mode == "RGBA" else "LA")
    image.putalpha(ImageOps.invert(PAGE))
    return image


def keyed_png() -> bytes:
    """Return a PNG in which one grey, black, is transparent, and the text is nearly black."""
    image = PAGE.point([0 if value > 127 else 30 for value in range(256)])
    return saved(image, "PNG", transparency=0)


def keyed_gif() -> bytes:
    image = PAGE.point([0 if value > 127 else 30 for value in range(256)]).convert("P")
    return saved(image, "GIF", transparency=image.getpixel((0, 0)))


def animation(kind: str) -> bytes:
    return saved(PAGE.convert("RGB"), kind, save_all=True, append_images=[OTHER.convert("RGB")], duration=100)


def coloured(paper: str, ink: str) -> Image.Image:
    return ImageOps.colorize(PAGE, ink, paper)


def without_end_chunk() -> bytes:
    return saved(PAGE, "PNG")[:-12]


def half(kind: str) -> bytes:
    content = saved(PAGE, kind)
    return content[: len(content) // 2]


def jpeg(**options: object) -> bytes:
    return saved(PAGE.convert("RGB"), "JPEG", **options)


def bmp_with_rows_from_the_top() -> bytes:
    """Return a BMP with a negative height, whose rows begin at the top."""
    content = bytearray(saved(PAGE.transpose(Image.Transpose.FLIP_TOP_BOTTOM), "BMP"))
    struct.pack_into("<i", content, 22, -PAGE.height)
    return bytes(content)


RASTER_CASES = [
    *[Case(f"JPEG, orientation {n}", partial(in_orientation, "JPEG", n)) for n in range(1, 9)],
    *[Case(f"PNG, orientation {n}", partial(in_orientation, "PNG", n)) for n in (3, 6, 8)],
    *[Case(f"WebP, orientation {n}", partial(in_orientation, "WEBP", n)) for n in (3, 6, 7)],
    *[Case(f"AVIF, orientation {n}", partial(in_orientation, "AVIF", n)) for n in (3, 5, 6, 8)],
    Case("HEIF, turned", HEIC.read_bytes),
    Case("JPEG, grey", lambda: saved(PAGE, "JPEG")),
    Case("JPEG, CMYK", lambda: saved(PAGE.convert("CMYK"), "JPEG")),
    Case("JPEG, progressive", lambda: jpeg(progressive=True)),
    Case("JPEG, reduced colour", lambda: jpeg(subsampling="4:1:1")),
    Case("JPEG without its last two bytes", lambda: jpeg()[:-2], CUT_SHORT),
    Case("JPEG, progressive, without its last two bytes", lambda: jpeg(progressive=True)[:-2], CUT_SHORT),
    Case("JPEG, half", lambda: half("JPEG"), error=UnreadableImage),
    Case("JPEG with bytes after its end", lambda: jpeg() + bytes(100)),
    Case("JPEG with broken Exif data", lambda: jpeg(exif=b"Exif\0\0II*\0\xff\xff\xff\xff")),
    Case("PNG, 1 bit", lambda: saved(PAGE.convert("1"), "PNG")),
    Case("PNG, 2 bits", lambda: saved(PAGE.quantize(4), "PNG", bits=2)),
    Case("PNG, 4 bits", lambda: saved(PAGE.quantize(16), "PNG", bits=4)),
    Case("PNG, 8 bits", lambda: saved(PAGE, "PNG")),
    Case("PNG, palette", lambda: saved(PAGE.quantize(256), "PNG")),
    Case("PNG, RGB", lambda: saved(PAGE.convert("RGB"), "PNG")),
    Case("PNG, 16 bits, grey", lambda: sixteen_bit_png(1)),
    Case("PNG, 16 bits, RGB", lambda: sixteen_bit_png(3)),
    Case("PNG, 12 bits in 16", twelve_bits_in_sixteen),
    Case("PNG, black on transparent", lambda: saved(transparent(0), "PNG")),
    Case("PNG, grey and alpha", lambda: saved(transparent(0, "LA"), "PNG")),
    Case("PNG, white on transparent", lambda: saved(transparent(255), "PNG")),
    Case("PNG, one grey is transparent", keyed_png),
    Case("PNG, white on black", lambda: saved(ImageOps.invert(PAGE), "PNG")),
    Case("PNG, blue on yellow", lambda: saved(coloured("yellow", "navy"), "PNG")),
    Case("PNG without its last chunk", without_end_chunk),
    Case("PNG, half", lambda: half("PNG"), error=UnreadableImage),
    Case("PNG, animated", lambda: animation("PNG"), FRAMES),
    Case("BMP, 1 bit", lambda: saved(PAGE.convert("1"), "BMP")),
    Case("BMP, 8 bits", lambda: saved(PAGE, "BMP")),
    Case("BMP, 24 bits", lambda: saved(PAGE.convert("RGB"), "BMP")),
    Case("BMP, rows from the top", bmp_with_rows_from_the_top),
    Case("BMP, half", lambda: half("BMP"), error=UnreadableImage),
    Case("GIF", lambda: saved(PAGE, "GIF")),
    Case("GIF, transparent", keyed_gif),
    Case("GIF, animated", lambda: animation("GIF"), FRAMES),
    Case("WebP, lossy", lambda: saved(PAGE.convert("RGB"), "WEBP")),
    Case("WebP, lossless", lambda: saved(PAGE.convert("RGB"), "WEBP", lossless=True)),
    Case("WebP, transparent", lambda: saved(transparent(0), "WEBP", lossless=True)),
    Case("WebP, animated", lambda: animation("WEBP"), FRAMES),
    Case("AVIF", lambda: saved(PAGE.convert("RGB"), "AVIF")),
    Case("JPEG 2000", lambda: saved(PAGE, "JPEG2000")),
    Case("JPEG 2000, RGB", lambda: saved(PAGE.convert("RGB"), "JPEG2000")),
    Case("PBM", lambda: saved(PAGE.convert("1"), "PPM")),
    Case("PGM", lambda: saved(PAGE, "PPM")),
    Case("PPM", lambda: saved(PAGE.convert("RGB"), "PPM")),
    Case("MPO, two views", lambda: saved(PAGE.convert("RGB"), "MPO", save_all=True, append_images=[OTHER])),
    Case("gzip", lambda: b"\x1f\x8b" + bytes(30), error=UnsupportedImage),
    Case("SVG", lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", error=UnsupportedImage),
]
