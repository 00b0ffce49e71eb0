"""The warnings about what may be misread on a page, on pages drawn for them. The vendor's library is not used."""

from dataclasses import replace
from pathlib import Path

import pytest
import reportlab
from PIL import Image, ImageFilter, ImageOps

from app.engine.child.page_quality.judgement import PageQuality, quality_of
from app.engine.contract.page_warnings import PageWarningCode
from app.engine.contract.reading_options import FilterName, ReadingMode
from app.engine.contract.reading_options import ImageFilter as Filter
from app.engine.contract.recognition_call import RecognitionOptions
from tests.support.files import pictures

VERA = str(Path(reportlab.__file__).with_name("fonts") / "Vera.ttf")
"""A font with the letters of Western Europe, which Pillow's own font lacks."""
BOLD = VERA.replace("Vera.ttf", "VeraBd.ttf")
ENGLISH = (
    "The quick brown fox jumps over a lazy dog 12345",
    'Invoice 4711: "fifty jars", total 1,250.00 EUR; paid!',
    "Is it in his fjord? Hawaiian skiing = 50% fun",
)
ACCENTED = {
    "German": ("Größe über alles: die Äpfel fallen", "zwölf Brüder hören München"),
    "French": ("Été à Noël, déjà cœur naïf", "forêt, garçon, élève"),
    "Spanish": ("El niño corazón ¿qué tal?", "mañana será también"),
    "Swedish": ("Åsa äter på ön", "små grodorna är så lustiga"),
    "a German name in English": ("Invoice of November 2024 for", "Jürgen Müller, quietly paid"),
}
LATIN = RecognitionOptions("latin", "universal", auto_skew=False, upscale=False, pages=None, save_as=None)


def judged(folder: Path, image: Image.Image) -> PageQuality:
    image.save(folder / "page.png")
    return quality_of(folder / "page.png")


def codes(quality: PageQuality, options: RecognitionOptions = LATIN) -> list[PageWarningCode]:
    return [warning.code for warning in quality.warnings(options)]


@pytest.mark.parametrize("font", [VERA, BOLD])
@pytest.mark.parametrize("points", [12, 16, 24, 44])
def test_a_good_page_has_no_warning(font: str, points: int, tmp_path: Path) -> None:
    """A sharp, upright page of English, small or large, black or white, has no warning and no skew."""
    page = pictures.page(*ENGLISH, points=points, font=font)

    for image in (page, ImageOps.invert(page)):
        quality = judged(tmp_path, image)
        assert (codes(quality), quality.skew_degrees) == ([], 0.0)


@pytest.mark.parametrize("image", ["white", "black", "noise", "gradient"])
def test_a_page_without_text_has_no_warning(image: str, tmp_path: Path) -> None:
    """A blank page, noise and a smooth picture are not judged by letters that they do not have."""
    size = (400, 300)
    pages = {
        "noise": Image.effect_noise(size, 80),
        "gradient": Image.linear_gradient("L").resize(size),
    }
    quality = judged(tmp_path, pages[image] if image in pages else Image.new("L", size, image))

    assert codes(quality) == []
    assert quality.skew_degrees == 0.0


@pytest.mark.parametrize("points", [16, 28, 44])
def test_a_blurred_page(points: int, tmp_path: Path) -> None:
    """A blur of a fifth of the font's size, of which hardly a word is read, is warned of; a light one is not."""
    page = pictures.page(*ENGLISH, points=points, font=VERA)

    assert codes(judged(tmp_path, page.filter(ImageFilter.GaussianBlur(points * 0.2)))) == [PageWarningCode.BLURRED]
    assert codes(judged(tmp_path, page.filter(ImageFilter.GaussianBlur(points * 0.07)))) == []


def test_small_text(tmp_path: Path) -> None:
    """Text of 7 pixels is warned of, unless a filter enlarges it."""
    quality = judged(tmp_path, pictures.page(*ENGLISH, points=7, font=VERA))

    assert codes(quality) == [PageWarningCode.TEXT_TOO_SMALL]
    assert codes(quality, replace(LATIN, filters=(Filter(FilterName.SCALE, (3,)),))) == []


@pytest.mark.parametrize("language", ACCENTED)
@pytest.mark.parametrize("points", [20, 40])
def test_accents_that_the_language_cannot_give(language: str, points: int, tmp_path: Path) -> None:
    """Letters with accents are warned of if the option gives letters without accents, and only then."""
    quality = judged(tmp_path, pictures.page(*ACCENTED[language], points=points, font=VERA))

    for options in (LATIN, replace(LATIN, language="ita")):
        assert codes(quality, options) == [PageWarningCode.ACCENTS_LOST]
    assert codes(quality, replace(LATIN, mode=ReadingMode.FAST)) == []
    for name in ("deu", "ext_latin"):
        assert codes(quality, replace(LATIN, language=name)) == []
    assert codes(quality, replace(LATIN, allowed_characters="0123456789")) == []
    (warning,) = quality.warnings(LATIN)
    assert "language=latin gives every letter without its accent" in warning.detail


@pytest.mark.parametrize("degrees", [-7, -2, 2, 5])
@pytest.mark.parametrize("lines", [ENGLISH, ENGLISH[:1]])
def test_turned_pages(degrees: int, lines: tuple[str, ...], tmp_path: Path) -> None:
    """The skew of a page is found, also of a single line."""
    page = pictures.page(*lines, points=24, font=VERA)

    turned = page.rotate(-degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white")

    assert judged(tmp_path, turned).skew_degrees == pytest.approx(degrees, abs=0.5)


def test_a_large_page_is_judged_like_a_small_one(tmp_path: Path) -> None:
    """A page of more pixels than are judged is reduced first."""
    page = pictures.page(*ACCENTED["German"], points=160, font=VERA)

    assert page.width * page.height > 1_000_000
    assert codes(judged(tmp_path, page)) == [PageWarningCode.ACCENTS_LOST]
