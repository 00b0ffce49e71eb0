"""The file that a document is made from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from app.engine.child.images.file_types import format_of
from app.engine.child.images.preparation import PreparedPage
from app.engine.contract.image_formats import PDF


@dataclass(frozen=True, slots=True)
class Source:
    """A file that was recognised."""

    path: Path
    """The file as it was sent."""
    pages: Sequence[PreparedPage]
    """The pages that were read, as upright PNGs."""
    password: str | None = None
    """The password of the file, if it is an encrypted PDF."""
    turned_degrees: float = 0
    """By how many degrees the filters turned each page counterclockwise before the vendor read the page."""
    is_deskewed: bool = False
    """Whether the vendor also turned each page to correct its skew."""

    @property
    def is_pdf(self) -> bool:
        """Whether the file is a PDF."""
        return format_of(self.path).media_type == PDF

    @property
    def is_picture(self) -> bool:
        """Whether Pillow opens the file: it is no PDF, DjVu document or archive."""
        return format_of(self.path).pillow_format is not None
