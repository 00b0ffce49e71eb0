"""The table of the image formats that recognition reads, for the service and the engine process."""

from dataclasses import dataclass

PDF = "application/pdf"
ZIP = "application/zip"
TIFF = "image/tiff"
DJVU = "image/vnd.djvu"


@dataclass(frozen=True, slots=True)
class ImageFormat:
    """A format of images that recognition reads."""

    name: str
    """The name of the format, as messages for users write it."""
    media_type: str
    pillow_format: str | None
    """Pillow's name of the format; None if Pillow does not read the format."""
    pillow_variants: tuple[str, ...] = ()
    """Other names that Pillow may report for an opened file of the format."""


IMAGE_FORMATS = (
    ImageFormat("PNG", "image/png", "PNG"),
    ImageFormat("JPEG", "image/jpeg", "JPEG", pillow_variants=("MPO",)),
    ImageFormat("TIFF", TIFF, "TIFF"),
    ImageFormat("BMP", "image/bmp", "BMP"),
    ImageFormat("GIF", "image/gif", "GIF"),
    ImageFormat("WebP", "image/webp", "WEBP"),
    ImageFormat("HEIF", "image/heif", "HEIF"),
    ImageFormat("AVIF", "image/avif", "AVIF"),
    ImageFormat("JPEG 2000", "image/jp2", "JPEG2000"),
    ImageFormat("PNM", "image/x-portable-anymap", "PPM"),
    ImageFormat("PDF", PDF, None),
    ImageFormat("DjVu", DJVU, None),
    ImageFormat("ZIP", ZIP, None),
)
MEDIA_TYPES = tuple(each.media_type for each in IMAGE_FORMATS)
FORMAT_NAMES = " or ".join((", ".join(each.name for each in IMAGE_FORMATS[:-1]), IMAGE_FORMATS[-1].name))
"""The names of all formats, for messages: 'PNG, JPEG, ... or PDF'."""
