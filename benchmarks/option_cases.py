"""The options that benchmarks/recognition_options.py tries, each with a page for it and tesseract's own such option."""

import io
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import reportlab
from PIL import Image, ImageChops
from recognisers import encoded, page

FONT = str(Path(reportlab.__file__).with_name("fonts") / "Vera.ttf")
"""A font with the letters of Western Europe."""
THREE = ["Invoice 4711 of 26 November", "Total 1,250.00 EUR due Monday", "Seven zebras walked quietly"]
LONG = [
    "The quick brown fox jumps over a lazy dog 12345",
    "Invoice 4711 dated 26 November, total 1,250.00 EUR",
    "Payment is due within thirty days of delivery",
    "Please quote the number on every letter 98765",
    "Seven zebras walked quietly through the orchard",
    "Quality paper 80 grams, five hundred sheets, white",
    "Delivered by road on Monday before eleven o'clock",
    "Box 17 holds forty jars and twenty wooden spoons",
]
GERMAN = [
    "Größe und Maß: süße Äpfel, Öl, Übung",
    "liegen täglich auf dem großen Tisch,",
    "während die Bäckerin Brötchen formt",
]
NUMBERS = ["4711 0815 1001 1250 0101", "8855 6680 3308 1117 2055", "0000 1111 5050 6666 1881"]
MISSPELT = ["The quikc brown fox jumps", "ovre the lazzy dog and slept", "undre the tree untill supper"]
SPELT = ["The quick brown fox jumps", "over the lazy dog and slept", "under the tree until supper"]
PASSPORT = ["P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<", "L898902C36UTO7408122F1204159ZE184226B<<<<<10"]
COLUMNS = [
    "The left column has words",
    "and they go on from there",
    "to the end of the column.",
    "Then the reader turns to",
]
BESIDE = [
    "the right column which is",
    "as wide as the left one is",
    "and a person reads it last",
    "of all the text on a page.",
]


@dataclass(frozen=True)
class Sheet:
    """A page, and the text that it shows."""

    name: str
    file: bytes
    lines: Sequence[str]


@dataclass(frozen=True)
class Row:
    """An option on a page made for it, and tesseract's own such option."""

    option: str
    sheet: Sheet
    other: tuple[str, ...] = ()
    """Tesseract's arguments; empty if it has no such option."""
    zones: str = ""
    other_before: tuple[str, ...] = ()
    """Tesseract's arguments for the call without the option."""
    lines: Sequence[str] | None = None
    """The true text with the option, if it is another."""
    fixed: dict[str, str] = field(default_factory=dict)
    """Options of both calls."""

    @property
    def query(self) -> dict[str, str]:
        """The options of the call with the option."""
        return self.fixed | dict(each.split("=", 1) for each in self.option.split(" "))


def turned(degrees: float, lines: Sequence[str] = THREE) -> bytes:
    return encoded(page(lines).rotate(degrees, Image.Resampling.BICUBIC, expand=True, fillcolor="white"))


def dotted() -> Image.Image:
    """Return a page with black and white dots on a sixth of its pixels."""
    image, chance = page(THREE), random.Random(1)
    for _ in range(image.width * image.height // 6):
        place = chance.randrange(image.width), chance.randrange(image.height)
        image.putpixel(place, chance.choice([(0, 0, 0), (255, 255, 255)]))
    return image


def shadowed() -> Image.Image:
    """Return a page that gets darker to the right, to a third of its brightness."""
    image = page(THREE)
    shadow = Image.linear_gradient("L").rotate(90).resize(image.size).point(lambda value: 255 - value * 2 // 3)
    return ImageChops.multiply(image, Image.merge("RGB", (shadow,) * 3))


def two_columns() -> Image.Image:
    left, right = page(COLUMNS), page(BESIDE)
    image = Image.new("RGB", (left.width + right.width, left.height), "white")
    image.paste(left, (0, 0))
    image.paste(right, (left.width, 0))
    return image


def pages() -> bytes:
    """Return a TIFF of three pages."""
    first, *others = (page(lines) for lines in (LONG[:2], THREE, LONG[4:6]))
    return encoded(first, "TIFF", save_all=True, append_images=others)


PLAIN = Sheet("three lines", encoded(page(THREE)), THREE)
PAGE = Sheet("eight lines", encoded(page(LONG, 26)), LONG)
LINE = Sheet("one line", encoded(page(THREE[:1])), THREE[:1])
SMALL = Sheet("letters of 9 pixels", encoded(page(THREE, 9)), THREE)
PALE = Sheet("pale grey on white", encoded(page(THREE, ink="#c8c8c8")), THREE)
SHADOW = Sheet("in a shadow", encoded(shadowed()), THREE)
NEGATIVE = Sheet("white on black", encoded(page(THREE, paper="black", ink="white")), THREE)
COLOURED = Sheet("blue on yellow", encoded(page(THREE, paper="yellow", ink="blue")), THREE)
DOTTED = Sheet("with dots", encoded(dotted()), THREE)
TABLE = Sheet("two columns", encoded(two_columns()), [*COLUMNS, *BESIDE])
DIGITS = Sheet("only digits", encoded(page(NUMBERS)), NUMBERS)
GERMANY = Sheet("German", encoded(page(GERMAN, font=FONT)), GERMAN)
ASIDE = Sheet("on its side", turned(90), THREE)
UPSIDE_DOWN = Sheet("upside down", turned(180), THREE)
SKEWED = {degrees: Sheet(f"turned by {degrees} degrees", turned(degrees), THREE) for degrees in (2, 3, 5, -5)}
SCAN = Sheet("TIFF of three pages", pages(), LONG[:2])


ORIENTATION = ("--psm", "0")
"""The arguments that let tesseract measure the orientation and nothing else."""


def zones(*lines: int) -> str:
    """Return tesseract's form of the regions of lines of PAGE."""
    return "".join(f"0 {39 + 39 * line - 4} {width_of(PAGE)} 39 text\n" for line in lines)


def regions(*lines: int) -> str:
    """Return the regions of lines of PAGE."""
    return "/".join(f"0,{39 + 39 * line - 4},{width_of(PAGE)},39" for line in lines)


def width_of(sheet: Sheet) -> int:
    return Image.open(io.BytesIO(sheet.file)).width


ROWS = [
    Row("kind=line", LINE, ("--psm", "7")),
    Row("kind=line", PLAIN, ("--psm", "7")),
    Row("kind=passport", PAGE),
    Row("kind=passport", Sheet("machine-readable zone", encoded(page(PASSPORT)), PASSPORT)),
    *[Row(f"kind={kind}", PLAIN) for kind in ("receipt", "invoice", "id_card", "car_plate", "handwriting")],
    Row("mode=fast", PLAIN),
    Row("mode=fast", PAGE),
    Row("areas=lean", PAGE, ("--psm", "6")),
    Row("areas=lean", TABLE, ("--psm", "6")),
    *[Row(f"areas={areas}", PLAIN) for areas in ("multicolumn", "document_layout", "table", "curved_text", "formula")],
    Row(f"regions={regions(4, 1)}", PAGE, ("--psm", "4"), zones(4, 1), lines=[LONG[4], LONG[1]]),
    Row("allowed_characters=0123456789", DIGITS, ("-c", "tessedit_char_whitelist=0123456789")),
    Row(
        "allowed_characters=0123456789",
        PLAIN,
        ("-c", "tessedit_char_whitelist=0123456789"),
        lines=["4711 26", "125000"],
    ),
    Row("ignored_characters=OoIl", DIGITS, ("-c", "tessedit_char_blacklist=OoIl")),
    Row("language=eng", PLAIN, ("-l", "eng")),
    Row("language=deu", GERMANY, ("-l", "deu")),
    Row("language=ext_latin", GERMANY),
    Row("language=ext_latin", PAGE),
    Row("auto_skew=true", SKEWED[2]),
    Row("auto_skew=true", SKEWED[5]),
    Row("auto_skew=true", SKEWED[-5]),
    Row("auto_skew=true", UPSIDE_DOWN, ("--psm", "1")),
    Row("auto_skew=true", ASIDE, ("--psm", "1")),
    Row("auto_skew=true", PLAIN),
    Row("auto_skew=true", PAGE),
    *[Row("detect_skew=true", sheet, ORIENTATION) for sheet in (SKEWED[3], UPSIDE_DOWN, ASIDE, PLAIN)],
    Row("upscale=true", SMALL, ("--dpi", "300"), other_before=("--dpi", "70")),
    Row("filters=scale:3", SMALL),
    Row("filters=resize:900x225", SMALL),
    Row("filters=rotate:-90", ASIDE, ("--psm", "1")),
    Row("filters=rotate:180", UPSIDE_DOWN, ("--psm", "1")),
    Row("filters=rotate:-3", SKEWED[3]),
    Row("filters=median", DOTTED),
    Row("filters=invert", NEGATIVE, ("-c", "tessedit_do_invert=1"), other_before=("-c", "tessedit_do_invert=0")),
    Row("filters=grayscale", COLOURED),
    Row("filters=dilate", PLAIN),
    Row("filters=dilate", PALE),
    Row("filters=binarize", PALE, ("-c", "thresholding_method=1")),
    Row("filters=binarize", SHADOW, ("-c", "thresholding_method=2")),
    Row("filters=threshold:228", PALE),
    Row("filters=threshold:60", SHADOW),
    Row("filters=scale:2,median,threshold:150", DOTTED),
    Row("correct=dictionary", Sheet("misspelt words", encoded(page(MISSPELT)), SPELT), fixed={"language": "eng"}),
    Row("pages=2", SCAN, ("-c", "tessedit_page_number=1"), lines=THREE),
]
FORMATS: dict[str, tuple[str, ...]] = {
    "json": (),
    "text": ("txt",),
    "hocr": ("hocr",),
    "pdf": ("pdf",),
    "alto": ("alto",),
    **dict.fromkeys(("pdf_text", "docx", "rtf", "html", "markdown", "epub", "csv", "xlsx"), ()),
}
