"""Finds the format of a file from its bytes only: callers and their programs often announce a wrong format."""

from pathlib import Path

from pi_heif import register_heif_opener
from PIL import Image

from app.engine.child.images.guarded_parsing import refusing
from app.engine.contract.archive_members import ZIP_SIGNATURES
from app.engine.contract.image_formats import DJVU, FORMAT_NAMES, IMAGE_FORMATS, PDF, ZIP, ImageFormat
from app.errors import UnreadableImage, UnsupportedImage

register_heif_opener()  # Pillow itself does not read HEIF
# Turns off Pillow's limit on pixels, which only warns; `check_size` applies stricter limits.
Image.MAX_IMAGE_PIXELS = None

PILLOW_FORMATS = tuple(each.pillow_format for each in IMAGE_FORMATS if each.pillow_format)
"""The formats that Pillow tries to open."""
FORMAT_OF_PILLOW = {
    name: each for each in IMAGE_FORMATS for name in (each.pillow_format, *each.pillow_variants) if name
}
"""The format of each name that Pillow may report."""
FORMAT_OF_TYPE = {each.media_type: each for each in IMAGE_FORMATS}
HEAD_BYTES = 1024
"""How many bytes may precede the header of a PDF. Readers of PDF accept that many."""
DJVU_SIGNATURE = b"AT&TFORM"
OTHER_KINDS = {
    b"\x1f\x8b": "compressed by gzip (send the file that is inside)",
    b"BZh": "compressed by bzip2 (send the file that is inside)",
    b"\xfd7zXZ": "compressed by xz (send the file that is inside)",
    b"\x28\xb5\x2f\xfd": "compressed by Zstandard (send the file that is inside)",
    b"7z\xbc\xaf": "a 7z archive (send each image inside)",
    b"Rar!": "a RAR archive (send each image inside)",
    b"\xd0\xcf\x11\xe0": "an Office document (send a PDF of it)",
    b"{\\rtf": "an RTF document (send a PDF of it)",
    b"{": "JSON (send it with Content-Type: application/json if it has the URL of an image)",
    b"%!PS": "PostScript (send a PDF of it)",
    b"<svg": "an SVG drawing (send a PNG of it)",
    b"<?xml": "XML, such as an SVG drawing (send a PNG of it)",
    b"<html": "an HTML page (send a PNG or PDF of it)",
    b"<!doctype html": "an HTML page (send a PNG or PDF of it)",
    b"data:": "a data URL (send its decoded bytes)",
}
"""By their first bytes, the kinds of files that cannot be read, and how a message calls them. The bytes are in lower
case if a file may have letters of either case."""


def format_of(path: Path) -> ImageFormat:
    """Return the format of a file. Raises UnreadableImage, UnsupportedImage, and no other error for any bytes."""
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    if not head:
        raise UnreadableImage("it is empty")
    start = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    for signature, kind in OTHER_KINDS.items():
        if start.startswith(signature) or start.lower().startswith(signature):
            raise UnsupportedImage(kind, FORMAT_NAMES)
    if head.startswith(ZIP_SIGNATURES):
        return FORMAT_OF_TYPE[ZIP]
    if head.startswith(DJVU_SIGNATURE):
        return FORMAT_OF_TYPE[DJVU]
    if b"%PDF-" in head:
        return FORMAT_OF_TYPE[PDF]
    what = f"it is not {FORMAT_NAMES}, or its header is broken"
    with refusing(what), Image.open(path, formats=PILLOW_FORMATS) as image:
        return FORMAT_OF_PILLOW[image.format or ""]
