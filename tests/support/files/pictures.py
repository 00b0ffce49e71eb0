"""Images and PDFs with known text."""

import io
import struct
import zlib

from PIL import Image, ImageDraw, ImageFont
from pypdf import PdfReader, PdfWriter

FORMATS = {
    "image/png": "PNG",
    "image/jpeg": "JPEG",
    "image/bmp": "BMP",
    "image/gif": "GIF",
    "image/tiff": "TIFF",
    "application/pdf": "PDF",
}


def page(*lines: str, points: int = 32, mode: str = "RGB", font: str | None = None) -> Image.Image:
    """Return a white page with these lines of text, as large as they need. `font` is a path; Pillow's own is ASCII."""
    letters = ImageFont.truetype(font, points) if font else ImageFont.load_default(points)
    width = max(int(letters.getlength(line)) for line in lines) + 2 * points
    image = Image.new("RGB", (width, (len(lines) + 2) * points * 3 // 2), "white")
    draw = ImageDraw.Draw(image)
    for number, line in enumerate(lines):
        draw.text((points, (number + 1) * points * 3 // 2), line, fill="black", font=letters)
    return image.convert(mode)


def table(*rows: tuple[str, ...], points: int = 32) -> Image.Image:
    """Return a white page with these cells in a ruled grid."""
    font, width, height = ImageFont.load_default(points), points * 9, points * 8 // 3
    image = Image.new("RGB", (len(rows[0]) * width + 80, len(rows) * height + 80), "white")
    draw = ImageDraw.Draw(image)
    for y, row in enumerate(rows):
        for x, cell in enumerate(row):
            left, top = 40 + x * width, 40 + y * height
            draw.rectangle((left, top, left + width, top + height), outline="black", width=3)
            draw.text((left + 20, top + points * 3 // 4), cell, fill="black", font=font)
    return image


def encoded(media_type: str, *pages: Image.Image) -> bytes:
    """Return a file of a media type; several pages need a type that can hold them."""
    file = io.BytesIO()
    more = {"save_all": True, "append_images": pages[1:]} if pages[1:] else {}
    pages[0].save(file, FORMATS[media_type], **more)
    return file.getvalue()


def pdf_of_blank_pages(count: int, side: float = 200) -> bytes:
    """Return a small PDF with this many blank pages."""
    writer = PdfWriter()
    for _ in range(count):
        writer.add_blank_page(side, side)
    return _written(writer)


def encrypted(pdf: bytes, password: str = "secret", owner: str | None = None) -> bytes:  # noqa: S107
    """Return the PDF, encrypted with a password."""
    writer = PdfWriter(clone_from=PdfReader(io.BytesIO(pdf)))
    writer.encrypt(password, owner)
    return _written(writer)


def _written(writer: PdfWriter) -> bytes:
    file = io.BytesIO()
    writer.write(file)
    return file.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """Return a small PNG whose header states the given size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(bytes(1000))), (b"IEND", b""))
    framed = (struct.pack(">I", len(c)) + kind + c + struct.pack(">I", zlib.crc32(kind + c)) for kind, c in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)
