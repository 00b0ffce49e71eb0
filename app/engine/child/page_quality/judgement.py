"""The warnings about what recognition may have misread on a page, judged by the pixels of the prepared page.

docs/recognition.md has the measurements from which the thresholds come.
"""

from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

from PIL import Image

from app.engine.child.page_quality.accents import accented_letters
from app.engine.child.page_quality.letters import (
    WIDEST_WORD,
    capital_height,
    ink_of,
    letters_of,
    pieces_of,
    usual_height,
)
from app.engine.child.page_quality.sharpness import blur_of
from app.engine.child.page_quality.skew import skew_of
from app.engine.contract.page_warnings import PageWarning, PageWarningCode
from app.engine.contract.reading_options import FilterName, ReadingMode
from app.engine.contract.recognition_call import RecognitionOptions

MOST_PIXELS = 5_000_000
"""A larger page is reduced before it is judged."""
LEAST_LETTERS = 6
"""A page with fewer pieces of ink that may be letters, or words of joined letters, is not judged."""
MOST_BLUR = 0.85
"""From this width of edges on, in heights of letters, a page is blurred."""
LEAST_CAPITALS = 8.0
"""Capital letters that are less high than this, in pixels, are too small."""
LEAST_ACCENTS = 2
"""With fewer letters with accents, there may be none: a speck may lie above a letter."""
_WITHOUT_ACCENTS = """
    afr bcl bem bew bhr ccx cdo cpx eng gax guz hau hmn ind ita kin kln knc latin lmn luo mak mer min mly mnp mui
    nbl nld nso nya pag pcc plm ruf sas sna som sot srr ssw suk swh toi tsn tso tum umb xho yor zul
    """
LANGUAGES_WITHOUT_ACCENTS = frozenset(_WITHOUT_ACCENTS.split())
"""The languages of Latin script with which the engine gives each letter without its accent: measured with 26.10.0, see
docs/recognition.md. Some of them, such as Italian, have letters with accents."""
ENLARGING = (FilterName.SCALE, FilterName.RESIZE)


@dataclass(frozen=True, slots=True)
class PageQuality:
    """What the pixels of a prepared page say about how well it can be read."""

    skew_degrees: float = 0.0
    """By how much the lines are turned clockwise; 0.0 if that is not clear."""
    blur: float = 0.0
    """The width of the letters' edges, in heights of letters."""
    capital_pixels: float = 0.0
    """The height of the capital letters in pixels; 0.0 if the page has too few letters."""
    accents: int = 0
    """How many letters have an accent."""

    def warnings(self, options: RecognitionOptions) -> list[PageWarning]:
        """Return the warnings about a page of this quality that was read with these options.

        The skew is not among them: see `app.engine.child.results.skew_warnings`.
        """
        found = []
        if self.blur >= MOST_BLUR:
            detail = "the page is blurred, and letters may be misread; send a sharper photo or scan"
            found.append(PageWarning(PageWarningCode.BLURRED, detail))
        if 0 < self.capital_pixels < LEAST_CAPITALS and not any(each.name in ENLARGING for each in options.filters):
            detail = (
                f"capital letters are only {self.capital_pixels:.0f} pixels high, and letters may be misread; scan at "
                "a higher resolution, or try filters=scale:3"
            )
            found.append(PageWarning(PageWarningCode.TEXT_TOO_SMALL, detail))
        if self.accents >= LEAST_ACCENTS and (reader := _reader_without_accents(options)):
            detail = (
                f"{self.accents} letters seem to have accents, and {reader} gives every letter without its accent; "
                "use language=ext_latin, or the language of the text if it gives accents, such as deu or fra"
            )
            found.append(PageWarning(PageWarningCode.ACCENTS_LOST, detail))
        return found


def quality_of(path: Path) -> PageQuality:
    """Judge a prepared page. Takes about a hundredth of the time that its recognition takes."""
    with Image.open(path) as image:
        page = image.convert("L")
    factor = ceil(sqrt(page.width * page.height / MOST_PIXELS))
    page = page.reduce(factor) if factor > 1 else page
    ink = ink_of(page)
    pieces = pieces_of(ink)
    words = letters_of(pieces, WIDEST_WORD)
    if len(words) < LEAST_LETTERS:
        return PageQuality()
    return PageQuality(
        skew_of(ink),
        blur_of(page, words, usual_height(words)),
        capital_height(letters_of(pieces)) * factor,
        accented_letters(pieces),
    )


def _reader_without_accents(options: RecognitionOptions) -> str | None:
    """Return the option by which the engine gives letters without accents; None if it gives accents."""
    if (
        options.mode == ReadingMode.FAST or options.allowed_characters
    ):  # the fast call takes no language, and gives them
        return None
    return f"language={options.language}" if options.language in LANGUAGES_WITHOUT_ACCENTS else None
