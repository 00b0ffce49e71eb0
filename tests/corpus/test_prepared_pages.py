"""Every file of the corpus becomes the page that a viewer shows, or an error. The vendor's library is not used."""

from pathlib import Path

import pytest
from PIL import Image, ImageChops, ImageOps, ImageStat

from app.engine.child.images import archives
from app.engine.child.images.preparation import PreparedPage, prepare
from app.engine.contract.page_warnings import PageWarningCode
from app.engine.contract.reading_options import PageRange
from app.engine.contract.recognition_call import ImageLimits
from app.errors import ImageTooLarge, PagesBeyondEnd
from tests.corpus.case import PAGE, Case
from tests.corpus.djvu_files import DJVU_CASES
from tests.corpus.pdf_files import PDF_CASES, TEXT_CASES, drawn
from tests.corpus.raster_files import RASTER_CASES
from tests.corpus.tiff_files import TIFF_CASES
from tests.corpus.zip_files import ZIP_CASES, archive, of_several

LIMITS = ImageLimits(4_000_000, 5)
CASES = [*RASTER_CASES, *TIFF_CASES, *PDF_CASES, *ZIP_CASES, *DJVU_CASES]
PAGES = next(case for case in TIFF_CASES if case.page_count == 3)


def prepared(case: Case, folder: Path) -> list[PreparedPage]:
    (folder / "image").write_bytes(case.make())
    return prepare(folder / "image", None, LIMITS, case.password)


def difference(path: Path) -> float:
    """Return the mean difference between a prepared page and PAGE, from 0 to 255, whatever their sizes and colours."""
    with Image.open(path) as image:
        assert image.mode in {"L", "RGB"}
        assert abs(image.width / image.height / (PAGE.width / PAGE.height) - 1) < 0.03
        grey = ImageOps.autocontrast(image.convert("L").resize(PAGE.size))
    if ImageStat.Stat(grey).mean[0] < 128:  # light text on a dark ground
        grey = ImageOps.invert(grey)
    return float(ImageStat.Stat(ImageChops.difference(grey, PAGE)).mean[0])


@pytest.mark.parametrize("case", [case for case in CASES if not case.error], ids=str)
def test_the_vendor_gets_what_a_viewer_shows(case: Case, tmp_path: Path) -> None:
    """The prepared page looks like the drawn one, and its warnings are those that the file deserves."""
    pages = prepared(case, tmp_path)

    assert [page.number for page in pages] == list(range(1, case.page_count + 1))
    assert tuple(warning.code for warning in pages[0].warnings) == case.warnings
    for page in pages:
        assert difference(page.path) < 12


@pytest.mark.parametrize("case", [case for case in CASES if case.error], ids=str)
def test_what_cannot_be_shown_is_an_error(case: Case, tmp_path: Path) -> None:
    """A file that cannot be read as a whole is an error of the kind that says why."""
    assert case.error
    with pytest.raises(case.error):
        prepared(case, tmp_path)


@pytest.mark.parametrize("case", TEXT_CASES, ids=str)
def test_the_text_of_forms_and_annotations_is_shown(case: Case, tmp_path: Path) -> None:
    """Text in a field or a stamp is on the page, though its content is empty, or a warning says that it is not."""
    (page,) = prepared(case, tmp_path)

    with Image.open(page.path) as image:
        box = ImageOps.invert(image.convert("L")).getbbox()
    assert box
    assert box[2] - box[0] > image.width / 3


def test_pages_of_an_archive_name_their_files(tmp_path: Path) -> None:
    """The pages of a ZIP archive are numbered through, and each names its file."""
    (tmp_path / "image").write_bytes(of_several())

    pages = prepare(tmp_path / "image", (PageRange(2, 3),), LIMITS)

    assert [(page.number, page.source) for page in pages] == [(2, "folder/a.jpg"), (3, "folder/c.pdf")]


def test_an_archive_that_grows_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an archive unpacks to is bounded by bytes and by files, whatever it states."""
    monkeypatch.setattr(archives, "MAX_UNPACKED_BYTES", 1000)
    (tmp_path / "image").write_bytes(archive(a__png=bytes(600), b__png=bytes(600)))
    with pytest.raises(ImageTooLarge, match="1000 bytes"):
        prepare(tmp_path / "image", None, LIMITS)

    monkeypatch.setattr(archives, "MAX_ENTRIES", 1)
    with pytest.raises(ImageTooLarge, match="1 files"):
        prepare(tmp_path / "image", None, LIMITS)


def test_pages_beyond_the_end(tmp_path: Path) -> None:
    """If some requested pages do not exist, a warning says so; if none does, the error names the last page."""
    (tmp_path / "image").write_bytes(PAGES.make())

    pages = prepare(tmp_path / "image", (PageRange(2, 9),), LIMITS)

    assert [page.number for page in pages] == [2, 3]
    assert [warning.code for warning in pages[0].warnings] == [PageWarningCode.PAGES_BEYOND_END]
    with pytest.raises(PagesBeyondEnd, match="the last page is 3"):
        prepare(tmp_path / "image", (PageRange(4, 9),), LIMITS)


def test_a_warning_names_what_was_not_read(tmp_path: Path) -> None:
    """The warning about attached files has their names."""
    (page,) = prepared(next(case for case in PDF_CASES if case.name == "PDF with an attached file"), tmp_path)

    assert "data.csv" in page.warnings[0].detail


def test_the_resolution_is_that_of_the_file(tmp_path: Path) -> None:
    """A page knows its resolution: a PDF's is that at which it was rendered, and a small limit of pixels lowers it."""
    (tmp_path / "image").write_bytes(drawn())
    size = [round(side / 72 * 150) for side in PAGE.size]

    (page,) = prepare(tmp_path / "image", None, LIMITS)
    (smaller,) = prepare(tmp_path / "image", None, ImageLimits(size[0] * size[1], 1))

    assert page.dots_per_inch == 200
    assert smaller.dots_per_inch == 150
    with pytest.raises(ImageTooLarge):
        prepare(tmp_path / "image", None, ImageLimits(size[0] * size[1] - 2000, 1))
