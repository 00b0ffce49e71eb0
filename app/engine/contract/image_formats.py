"""The formats of images that recognition reads. Both processes use this table: a new format is a new row."""

from dataclasses import dataclass

PDF = "application/pdf"
TIFF = "image/tiff"


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """One format."""

    name: str
    """Its name in messages."""
    media_type: str
    pillow_format: str | None
    """The format as which Pillow opens it; None if Pillow does not read it."""
    pillow_variants: tuple[str, ...] = ()
    """Other formats that Pillow may report for an opened file."""


IMAGE_FORMATS = (
    ImageFormat("PNG", "image/png", "PNG"),
    ImageFormat("JPEG", "image/jpeg", "JPEG", pillow_variants=("MPO",)),
    ImageFormat("TIFF", TIFF, "TIFF"),
    ImageFormat("BMP", "image/bmp", "BMP"),
    ImageFormat("GIF", "image/gif", "GIF"),
    ImageFormat("PDF", PDF, None),
)
MEDIA_TYPES = tuple(each.media_type for each in IMAGE_FORMATS)
FORMAT_NAMES = " or ".join((", ".join(each.name for each in IMAGE_FORMATS[:-1]), IMAGE_FORMATS[-1].name))
"""All names, for messages: 'PNG, JPEG, ... or PDF'."""
