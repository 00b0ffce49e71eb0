"""The checks of an image before the vendor gets it: every hostile file is refused, and with the right error."""

import contextlib
import io
import time
from pathlib import Path

import pytest
from PIL import Image
from pypdf import PdfReader, PdfWriter
from pypdf.errors import DependencyError

from app.engine.child.images import image_sizes, preparation
from app.engine.child.images.preparation import prepare
from app.engine.contract.image_formats import PDF, TIFF
from app.engine.contract.reading_options import PageRange
from app.engine.contract.recognition_call import ImageLimits
from app.errors import EncryptedPdf, ImageError, ImageTooLarge, UnreadableImage
from tests.support.files import pictures
from tests.support.files.hostile_images import (
    CONTENT,
    DRAWS,
    ENDLESS,
    LOOPS,
    MAX_PIXELS,
    ODD,
    STITCHED,
    TOO_LARGE,
    form,
    one_page,
    page_tags,
    picture,
    tiff,
)

LIMITS = ImageLimits(MAX_PIXELS, 50)


def check(content: bytes, folder: Path, pages: tuple[PageRange, ...] | None = None) -> list[int]:
    """Prepare a file with the default limits, except that a page may have MAX_PIXELS; return the pages' numbers."""
    (folder / "image").write_bytes(content)
    return [page.number for page in prepare(folder / "image", pages, LIMITS)]


@pytest.mark.parametrize("name", LOOPS)
def test_a_loop_is_unreadable(name: str, tmp_path: Path) -> None:
    """A file whose parts refer to each other in a circle is unreadable."""
    with pytest.raises(UnreadableImage):
        check(LOOPS[name](), tmp_path)


@pytest.mark.parametrize("name", TOO_LARGE)
def test_a_small_file_with_a_large_content_is_too_large(name: str, tmp_path: Path) -> None:
    """A small file that would need much memory or time is too large, wherever it hides that."""
    with pytest.raises(ImageTooLarge):
        check(TOO_LARGE[name](), tmp_path)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (pictures.encoded(TIFF, *[pictures.page("a")] * 3), [1, 2, 3]),
        # Two pages may share an Exif directory, which is no loop.
        (tiff(page_tags(t34665=-3), page_tags(t34665=-3), {}, next_of={0: 1}), [1, 2]),
        (tiff(page_tags(), big=True), [1]),
        # Producers often give all forms the resources of the page, so a form may be among its own resources.
        (one_page(DRAWS, CONTENT, form(b"/XObject<</X 5 0 R/Y 6 0 R>>", b"/Y Do"), picture(1, 1)), [1]),
        (one_page(DRAWS, CONTENT, picture(1000, 1000, bytes(1_000_000), b"FlateDecode")), [1]),
        # Any two opposite corners are a page, in any order.
        (one_page(b"").replace(b"[0 0 200 200]", b"[200 200 0 0]"), [1]),
        # Both halves of a function, and two colour spaces, may share one function.
        (
            one_page(
                b"/Resources<</Shading<</S<</Function 4 0 R>>>>/ColorSpace<</A[/Separation/A/DeviceRGB 4 0 R]>>>>",
                STITCHED % (5, 5),
                b"<</FunctionType 2/Domain[0 1]/N 1>>",
            ),
            [1],
        ),
        (one_page(DRAWS, CONTENT, picture(1000, 1000, b"cut off", b"FlateDecode")), [1]),
    ],
)
def test_what_only_looks_hostile_is_read(content: bytes, expected: list[int], tmp_path: Path) -> None:
    """Shared directories and resources are no loops."""
    assert check(content, tmp_path) == expected


def test_a_page_that_is_not_read_is_not_checked(tmp_path: Path) -> None:
    """The size of a picture on another page does not matter, though links lead there."""
    writer = PdfWriter()
    for content in (
        one_page(b"/Annots[<</Subtype/Link/Dest[3 0 R/Fit]>>]"),
        TOO_LARGE["a huge picture in an annotation"](),
    ):
        writer.append(PdfReader(io.BytesIO(content)))
    file = io.BytesIO()
    writer.write(file)

    assert check(file.getvalue(), tmp_path, (PageRange(1, 1),)) == [1]
    with pytest.raises(ImageTooLarge):
        check(file.getvalue(), tmp_path)


@pytest.mark.parametrize("version", [5, 6])
def test_an_encrypted_pdf_says_so(version: int, tmp_path: Path) -> None:
    """A PDF with AES, which pypdf decrypts only with another package, is encrypted, and not broken."""
    keys = b"/U<%s>/O<%s>/UE<%s>/OE<%s>/Perms<%s>" % (b"00" * 48, b"00" * 48, b"00" * 32, b"00" * 32, b"00" * 16)
    encryption = b"<</Filter/Standard/V 5/R %d/Length 256/P -4%s" % (version, keys)
    encryption += b"/CF<</StdCF<</AuthEvent/DocOpen/CFM/AESV3/Length 32>>>>/StmF/StdCF/StrF/StdCF>>"
    content = one_page(b"", encryption).replace(b"/Root 1 0 R", b"/Root 1 0 R/Encrypt 4 0 R/ID[<00><00>]")
    with pytest.raises((DependencyError, EncryptedPdf)):
        check_with_pypdf(content)

    with pytest.raises(EncryptedPdf):
        check(content, tmp_path)


def check_with_pypdf(content: bytes) -> None:
    """Raise what pypdf raises for an encrypted PDF, or EncryptedPdf."""
    if PdfReader(io.BytesIO(content)).is_encrypted:
        raise EncryptedPdf


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (RuntimeError("what no parser should raise"), UnreadableImage),
        (RecursionError(), UnreadableImage),
        (AssertionError(), UnreadableImage),
        (MemoryError(), ImageTooLarge),
        (ImageTooLarge("a", "b"), ImageTooLarge),
    ],
)
@pytest.mark.parametrize("media_type", ["image/png", PDF])
def test_every_exception_of_a_parser_is_an_error_of_the_image(
    media_type: str, error: Exception, expected: type[ImageError], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever a parser raises for hostile bytes becomes an error about the image.

    The exceptions are fakes: no file is known for which the present versions raise these.
    """

    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr("app.engine.child.images.pdf_checks.PdfReader" if media_type == PDF else "PIL.Image.open", fail)
    with pytest.raises(ImageError) as raised:
        check(pictures.encoded(media_type, pictures.page("a")), tmp_path)
    assert type(raised.value) is expected


def test_a_parser_that_does_not_end_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A check that takes more CPU time than the limit is ended, even if the parser swallows the first exception."""

    def never_end(*_: object) -> None:
        with contextlib.suppress(Exception):
            wait_for_cpu(60)
        wait_for_cpu(60)

    monkeypatch.setattr(image_sizes, "REPEAT_SECONDS", 0.1)
    monkeypatch.setattr(preparation, "limited_time", lambda: image_sizes.limited_time(0.1))
    monkeypatch.setattr(preparation, "page_count", never_end)
    with pytest.raises(ImageTooLarge, match="too long"):
        check(pictures.encoded("image/png", pictures.page("a")), tmp_path)
    wait_for_cpu(0.2)  # the timer does not outlive the check


@pytest.mark.parametrize("name", ENDLESS)
def test_a_file_that_takes_too_long_is_ended(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The limit of CPU time ends real parsers, which read such a file in many short calls."""
    monkeypatch.setattr(preparation, "limited_time", lambda: image_sizes.limited_time(0.2))

    with pytest.raises(ImageTooLarge, match="too long"):
        check(ENDLESS[name](), tmp_path)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_pdf_is_read_or_refused(name: str, tmp_path: Path) -> None:
    """What only few readers agree about is read or refused, and never raises another error."""
    with contextlib.suppress(ImageError):
        assert check(ODD[name](), tmp_path)


def wait_for_cpu(seconds: float) -> None:
    """Compute for some seconds of CPU time."""
    until = time.process_time() + seconds
    while time.process_time() < until:
        pass


def test_a_frame_that_differs_is_checked(tmp_path: Path) -> None:
    """Each page of a TIFF is checked, not only the first."""
    file = io.BytesIO()
    small, large = Image.new("1", (8, 8)), Image.new("1", (2000, 2000))
    small.save(file, "TIFF", save_all=True, append_images=[large], compression="group4")

    assert check(file.getvalue(), tmp_path, (PageRange(1, 1),)) == [1]
    with pytest.raises(ImageTooLarge):
        check(file.getvalue(), tmp_path)


def test_a_file_of_another_kind_is_refused_without_a_path(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The refusal of bytes that are no image shows callers no path of the service, and logs no traceback."""
    with pytest.raises(UnreadableImage) as refused:
        check(b"no image", tmp_path)

    assert str(tmp_path) not in str(refused.value)
    assert "Traceback" not in capfd.readouterr().err
