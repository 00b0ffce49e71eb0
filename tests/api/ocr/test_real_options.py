"""Options of `POST /ocr` with the real engine: what each does to a page made for it."""

import io
from collections.abc import Callable, Iterator
from typing import Any

import docx
import httpx
import pytest
from PIL import Image

from tests.api.ocr.test_real_recognition import close_to
from tests.support.clients.answers import problem_of
from tests.support.files import pictures
from tests.support.service import RunningService
from tests.support.supervised import NATIVE

pytestmark = [
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
    pytest.mark.timeout(300),
]

LINES = ("Invoice 4711 of November", "due 26 zebras quietly")
PAGE = pictures.page(*LINES, points=24)
TEXT = "\n".join(LINES)


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with the real engine."""
    with RunningService(tmp_path_factory.mktemp("options"), native_dir=NATIVE, max_image_pixels=2_000_000) as running:
        running.client.timeout = httpx.Timeout(250)
        yield running.wait_until_ready()


Ask = Callable[..., httpx.Response]


@pytest.fixture
def ask(service: RunningService) -> Ask:
    """Send an image with options."""

    def ask(image: Image.Image, **options: str) -> httpx.Response:
        return service.client.post("/ocr", content=pictures.encoded("image/png", image), params=options)

    return ask


def page_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the only page of an answer; the vendor's notice is nowhere in it."""
    (page,) = answer.raise_for_status().json()["pages"]
    assert "***" not in str(page)
    return dict(page)


@pytest.mark.slow
def test_a_turned_page_is_turned_back(ask: Ask) -> None:
    """Of a page on its side the engine reads nothing; with `rotate` it reads the text, and the boxes are of the turned
    page."""
    aside = PAGE.rotate(90, expand=True)

    page = page_of(ask(aside, filters="rotate:-90"))

    assert close_to(TEXT, page["text"])
    assert (page["width"], page["height"]) == PAGE.size


@pytest.mark.slow
@pytest.mark.parametrize("filters", ["scale:2", "resize:900x300", "median", "grayscale", "threshold:150", "binarize"])
def test_a_page_is_readable_after_each_filter(ask: Ask, filters: str) -> None:
    """The engine reads a page after each filter, and states the size after it."""
    page = page_of(ask(PAGE, filters=filters))

    sizes = {"scale:2": (PAGE.width * 2, PAGE.height * 2), "resize:900x300": (900, 300)}
    assert close_to(TEXT, page["text"])
    assert (page["width"], page["height"]) == sizes.get(filters, PAGE.size)


@pytest.mark.slow
def test_the_negative_of_a_negative(ask: Ask) -> None:
    """`invert` and `dilate` leave a page readable that is white on black."""
    negative = Image.eval(PAGE, lambda value: 255 - value)

    assert close_to(TEXT, page_of(ask(negative, filters="invert,dilate"))["text"])


@pytest.mark.slow
def test_only_the_regions_are_read_in_their_order(ask: Ask) -> None:
    """Each region has its text apart, and the text has them in the order of the option."""
    lines = [f"Line number {word} of the page" for word in ("one", "two", "three")]
    image = pictures.page(*lines, points=24)
    first, second, third = (f"0,{y},{image.width},36" for y in (31, 67, 103))

    page = page_of(ask(image, regions=f"{third}/{first}/{second}"))

    assert close_to(f"{lines[2]}\n{lines[0]}", page["text"])
    assert [each["box"]["y"] for each in page["regions"]] == [103, 31, 67]
    assert close_to(lines[2], page["regions"][0]["text"])
    assert page["regions"][0]["box"] == {"x": 0, "y": 103, "width": image.width, "height": 36}
    assert page["regions"][2]["text"] == "", "the unlicensed engine gives no text of the last region"


def test_a_region_that_is_not_on_the_page(ask: Ask) -> None:
    """The problem names the region and the size of the page."""
    answer = ask(PAGE, regions="0,0,20,20/5,5,9000,20")

    assert problem_of(answer) == (422, "region-outside-page")
    assert f"5,5,9000,20 is not on the page, which has {PAGE.width} x {PAGE.height} pixels" in answer.json()["detail"]


@pytest.mark.slow
def test_characters_that_are_allowed_or_ignored(ask: Ask) -> None:
    """The text has only the allowed characters, and none of the ignored ones."""
    allowed = page_of(ask(PAGE, allowed_characters="0123456789"))["text"]
    ignored = page_of(ask(PAGE, ignored_characters="nv"))["text"]

    assert set(allowed) <= set("0123456789 \n")
    assert "4711" in allowed
    assert not set(ignored) & set("nv")
    assert "4711" in ignored


@pytest.mark.slow
@pytest.mark.parametrize("query", [{"mode": "fast"}, {"kind": "passport"}])
def test_other_calls_of_the_vendor(ask: Ask, query: dict[str, str]) -> None:
    """The fast mode and the passport call read the text."""
    page = page_of(ask(PAGE, **query))

    assert close_to(TEXT, page["text"])
    assert page["truncated_by_evaluation"]
    if "kind" in query:  # the vendor stretches a passport to 1000 x 1000 pixels
        assert (page["width"], page["height"]) == PAGE.size


@pytest.mark.slow
def test_the_fast_mode_writes_documents(ask: Ask) -> None:
    """In the fast mode a Word document has each line that the vendor read, in order."""
    answer = ask(PAGE, mode="fast", format="docx").raise_for_status()

    paragraphs = docx.Document(io.BytesIO(answer.content)).paragraphs
    assert close_to(TEXT, "\n".join(paragraph.text for paragraph in paragraphs))


@pytest.mark.slow
def test_a_single_line(ask: Ask) -> None:
    """Of a page of one line the unlicensed engine returns the beginning only with `kind=line`."""
    assert close_to(LINES[0], page_of(ask(pictures.page(LINES[0], points=24), kind="line"))["text"])


@pytest.mark.parametrize("kind", ["receipt", "invoice", "id_card", "car_plate", "handwriting"])
def test_a_kind_that_needs_a_file(ask: Ask, kind: str) -> None:
    """The problem names the OCR model that the kind needs."""
    answer = ask(PAGE, kind=kind)

    assert problem_of(answer) == (422, "resource-missing")
    assert "aspose-ocr-advanced-recognition-v1" in answer.json()["detail"]


@pytest.mark.slow
def test_skew_is_measured_without_turning(ask: Ask) -> None:
    """`detect_skew` states the angle of a page that is turned by two degrees."""
    skewed = PAGE.rotate(-2, expand=True, fillcolor="white")

    page = page_of(ask(skewed, detect_skew="true"))

    assert page["skew_degrees"] == pytest.approx(2, abs=0.7)
    assert [warning["code"] for warning in page["warnings"]] == ["skewed", "text-cut-by-evaluation"]


@pytest.mark.slow
def test_a_dictionary_corrects_words(ask: Ask) -> None:
    """Misspelt words are replaced by those of the dictionary; the recognised text stays beside them."""
    page = page_of(
        ask(
            pictures.page("The quikc brown fox", "jumps ovre the lazzy dog", points=24),
            correct="dictionary",
            language="eng",
        )
    )

    assert page["corrected"]["text"].startswith("The quick")
    assert page["text"].startswith("The quikc")


@pytest.mark.slow
@pytest.mark.parametrize("media_type", ["image/tiff", "application/pdf"])
def test_several_ranges_of_pages(service: RunningService, media_type: str) -> None:
    """`pages=1,3-` reads these pages, with their numbers; a page beyond the end is a problem."""
    pages = [pictures.page(f"{word} of three pages", "to be read", points=24) for word in ("First", "Second", "Third")]
    file = {"file": ("scan", pictures.encoded(media_type, *pages), media_type)}

    answer = service.client.post("/ocr", data={"pages": "3-,1"}, files=file).raise_for_status().json()

    assert [(page["number"], page["text"].split()[0]) for page in answer["pages"]] == [(1, "First"), (3, "Third")]
    beyond = service.client.post("/ocr", data={"pages": "1,5-"}, files=file)
    assert problem_of(beyond) == (422, "pages-beyond-end")


@pytest.mark.slow
def test_a_blank_page_is_not_cut(ask: Ask) -> None:
    """A blank page has no text and is not marked as cut; a page of one line, of which all text is cut, is."""
    blank = page_of(ask(Image.new("RGB", (400, 200), "white")))
    line = page_of(ask(pictures.page(LINES[0], points=24)))

    assert (blank["text"], blank["truncated_by_evaluation"], blank["warnings"]) == ("", False, [])
    assert (line["text"], line["truncated_by_evaluation"]) == ("", True)
