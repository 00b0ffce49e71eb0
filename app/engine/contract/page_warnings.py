"""Warnings about pages: what was cut, lost or doubtful although the page was read. A new warning is a new code."""

from dataclasses import dataclass
from enum import StrEnum


class PageWarningCode(StrEnum):
    """What a warning is about. Callers may compare codes; details are for people."""

    IMAGE_CUT_SHORT = "image-cut-short"
    """The file ends early, and a small part of the image may be missing."""


@dataclass(frozen=True, slots=True)
class PageWarning:
    """A warning about one page of an answer."""

    code: PageWarningCode
    detail: str
    """One sentence for people, without a line break."""
