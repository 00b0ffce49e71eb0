"""Warnings about pages that were read, although a part of them was cut, lost or doubtful."""

from dataclasses import dataclass
from enum import StrEnum


class PageWarningCode(StrEnum):
    """The code of a warning, which callers may compare. The warning's `detail` is for people."""

    IMAGE_CUT_SHORT = "image-cut-short"
    """The file ends early, and a small part of the image may be missing."""
    FRAMES_NOT_READ = "frames-not-read"
    """The file is an animation or a sequence of images, and only its first image is read."""
    ATTACHMENTS_NOT_READ = "attachments-not-read"
    """Files are attached to the PDF, and they are not part of any page."""
    FILES_NOT_READ = "files-not-read"
    """The ZIP archive has files that are not images."""
    SKEWED = "skewed"
    """The lines of the page are turned a little, and the page was read as it is."""
    PAGES_BEYOND_END = "pages-beyond-end"
    """A requested range of pages goes beyond the end of the document."""
    FORM_NOT_SHOWN = "form-not-shown"
    """The PDF is a form that only Adobe's viewers show (dynamic XFA); its pages show only a placeholder."""
    FONTS_MISSING = "fonts-missing"
    """Letters of the PDF are not drawn, or drawn as other letters, because its fonts are not embedded."""
    BLURRED = "blurred"
    """The page is so blurred that letters are misread."""
    TEXT_TOO_SMALL = "text-too-small"
    """The letters have so few pixels that they are misread."""
    ACCENTS_LOST = "accents-lost"
    """Letters on the page have accents, and the chosen language gives letters without accents."""
    CHARACTERS_NOT_EXCLUDED = "characters-not-excluded"
    """The text has characters that the caller excluded, because the engine has ignored the option."""
    TEXT_CUT_BY_EVALUATION = "text-cut-by-evaluation"
    """The engine has no licence and has cut the text."""


@dataclass(frozen=True, slots=True)
class PageWarning:
    """A warning about one page of an answer."""

    code: PageWarningCode
    detail: str
    """One sentence for people, without a line break."""
