"""Warnings about pages: what was cut, lost or doubtful although the page was read. A new warning is a new code."""

from dataclasses import dataclass
from enum import StrEnum


class PageWarningCode(StrEnum):
    """What a warning is about. Callers may compare codes; details are for people."""

    IMAGE_CUT_SHORT = "image-cut-short"
    """The file ends early, and a small part of the image may be missing."""
    FRAMES_NOT_READ = "frames-not-read"
    """The file is an animation or a sequence of images, and only its first image is read."""
    ATTACHMENTS_NOT_READ = "attachments-not-read"
    """Files are attached to the PDF, and they are not part of any page."""
    FILES_NOT_READ = "files-not-read"
    """The ZIP archive has files that are not images."""
    SKEWED = "skewed"
    """The page is turned, and `detect_skew` measured it."""
    PAGES_BEYOND_END = "pages-beyond-end"
    """Pages were requested that the document does not have."""


@dataclass(frozen=True, slots=True)
class PageWarning:
    """A warning about one page of an answer."""

    code: PageWarningCode
    detail: str
    """One sentence for people, without a line break."""
