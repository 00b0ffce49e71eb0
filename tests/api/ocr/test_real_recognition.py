"""`POST /ocr` with the real engine, on images of known text."""

import difflib
import gzip
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import docx
import httpx
import pytest
import reportlab
from PIL import Image
from pypdf import PdfReader

from tests.support.clients.answers import problem_of
from tests.support.files import pictures
from tests.support.files.hostile_images import one_page
from tests.support.service import RunningService
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
    pytest.mark.timeout(600),
]

SHORT = ("The quick brown fox", "jumps over the lazy dog")
"""Two lines, because the unlicensed engine returns the beginning of two lines, and nothing of one line."""
LONG = [f"The quick brown fox jumps over the lazy dog number {number}" for number in range(10, 17)]
GERMAN = [f"Größe {number}: die Äpfel (süß) fallen täglich vom hohen Baum" for number in range(10, 18)]
VERA = str(Path(reportlab.__file__).with_name("fonts") / "Vera.ttf")
"""A font with the letters of Western Europe, which Pillow's own font lacks."""
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with the real engine."""
    limits: dict[str, Any] = {"max_image_bytes": 4_000_000, "max_image_pixels": 4_000_000, "max_image_pages": 3}
    with RunningService(tmp_path_factory.mktemp("reader"), native_dir=NATIVE, **limits) as running:
        running.client.timeout = httpx.Timeout(150)
        yield running.wait_until_ready()


@pytest.fixture
def read(reader: RunningService) -> Iterator["Read"]:
    """Sends images to the service; afterwards no file of any image is left."""
    yield Read(reader)
    assert leftovers(reader) == []


class Read:
    """Sends images to one service."""

    def __init__(self, service: RunningService) -> None:
        self.service = service

    def __call__(
        self, image: bytes, media_type: str = "image/png", accept: str = "*/*", **query: object
    ) -> httpx.Response:
        headers = {"content-type": media_type, "accept": accept}
        return self.service.client.post(
            "/ocr", content=image, headers=headers, params={k: str(v) for k, v in query.items()}
        )

    def problem(self, image: bytes, media_type: str = "image/png", **query: Any) -> tuple[int, str]:
        """Send an image; return the status and the last part of the problem's type."""
        answer = self(image, media_type, **query)
        return answer.status_code, str(answer.json()["type"]).rpartition(":")[2]


def leftovers(service: RunningService) -> list[str]:
    """Return the files of images and results in the state folder, and those that the engine process holds open."""
    kept = [str(path) for path in service.state_dir.rglob("call-*")]
    kept += [str(path) for path in service.state_dir.glob("engine-*/run-*/tmp/*")]
    opened = [str(link.readlink()) for link in Path(f"/proc/{service.engine()['pid']}/fd").iterdir()]
    return kept + [path for path in opened if "/call-" in path]


def close_to(expected: str, text: str) -> bool:
    """Return whether nearly every character is right, compared with the beginning that the unlicensed engine reads."""
    matcher = difflib.SequenceMatcher(None, expected[: len(text)], text, autojunk=False)
    return bool(text) and matcher.ratio() > 0.9


def test_the_text_of_a_page_with_its_lines(read: Read) -> None:
    """The text is the drawn one, each box is inside the page, and the evaluation's cut is a flag, not in the text."""
    image = pictures.page(*LONG)

    answer = read(pictures.encoded("image/png", image)).raise_for_status().json()

    (page,) = answer["pages"]
    assert close_to("\n".join(LONG), answer["text"])
    assert answer["truncated_by_evaluation"]
    assert page["truncated_by_evaluation"]
    assert "Trial" not in str(answer)
    assert (page["number"], page["width"], page["height"]) == (1, *image.size)
    assert page["lines"]
    for line, drawn in zip(page["lines"], LONG, strict=False):
        box = line["box"]
        assert close_to(drawn, line["text"])
        assert 0 <= box["x"] < box["x"] + box["width"] <= image.width
        assert 0 <= box["y"] < box["y"] + box["height"] <= image.height
    assert answer["settings"] == {
        "kind": "text",
        "mode": "accurate",
        "language": "latin",
        "areas": "universal",
        "auto_skew": False,
        "upscale": False,
        "filters": [],
    }


@pytest.mark.parametrize(
    "media_type",
    [
        "image/jpeg",
        pytest.param("image/bmp", marks=pytest.mark.slow),
        pytest.param("image/gif", marks=pytest.mark.slow),
    ],
)
def test_other_formats_as_text(read: Read, media_type: str) -> None:
    """JPEG, BMP and GIF answer plain text, with the evaluation's cut in a header."""
    answer = read(pictures.encoded(media_type, pictures.page(*SHORT)), media_type, accept="text/plain")

    assert close_to("\n".join(SHORT), answer.raise_for_status().text)
    assert answer.headers["x-truncated-by-evaluation"] == "true"


@pytest.mark.parametrize("media_type", ["image/tiff", pytest.param("application/pdf", marks=pytest.mark.slow)])
def test_a_page_of_several_from_a_form(read: Read, media_type: str) -> None:
    """`pages` selects a page of a document in a form, and the page keeps its number."""
    pages = [pictures.page(f"{number} of three pages", "that were scanned") for number in ("First", "Second", "Third")]
    form = {"file": ("scan", pictures.encoded(media_type, *pages), media_type)}

    answer = read.service.client.post("/ocr", params={"pages": "2"}, files=form).raise_for_status().json()

    (page,) = answer["pages"]
    assert page["number"] == 2
    assert close_to("Second of three pages", page["text"])


def text_of_hocr(content: bytes) -> str:
    return "".join(ET.fromstring(content).itertext())  # noqa: S314 - the engine's own


def text_of_pdf(content: bytes) -> str:
    return PdfReader(io.BytesIO(content)).pages[0].extract_text()


def text_of_docx(content: bytes) -> str:
    return "\n".join(paragraph.text for paragraph in docx.Document(io.BytesIO(content)).paragraphs)


@pytest.mark.slow
def test_a_document_has_every_recognised_line(read: Read) -> None:
    """hOCR, searchable PDF and DOCX have each line of the JSON answer, letter by letter. The vendor's lose letters."""
    image = pictures.encoded("image/png", pictures.page(*GERMAN, font=VERA))
    lines = [each["text"] for each in read(image, language="deu").json()["pages"][0]["lines"]]
    assert {"ß", "ö", "ä", "("} <= set("".join(lines))

    for accept, text_of in (
        ("application/pdf", text_of_pdf),
        ("text/vnd.hocr+html", text_of_hocr),
        (DOCX, text_of_docx),
    ):
        answer = read(image, accept=accept, language="deu").raise_for_status()
        assert [line for line in lines if line not in text_of(answer.content)] == [], accept
        assert answer.headers["x-truncated-by-evaluation"] == "true"


def corpus() -> dict[str, tuple[bytes, str, int, str]]:
    """Return images that cannot be read: their bytes, announced type, expected status and problem type."""
    good = pictures.encoded("image/png", pictures.page(*SHORT))
    bmp, jpeg, tiff, pdf = (
        pictures.encoded(f, pictures.page(*SHORT)) for f in ("image/bmp", "image/jpeg", "image/tiff", "application/pdf")
    )
    unreadable, too_large = (422, "image-unreadable"), (413, "image-too-large")
    return {
        "noise": (os.urandom(3000), "image/png", *unreadable),
        "noise behind a signature": (good[:8] + os.urandom(3000), "image/png", *unreadable),
        "half a PNG": (good[: len(good) // 2], "image/png", *unreadable),
        "half a BMP": (bmp[: len(bmp) // 2], "image/bmp", *unreadable),
        "half a JPEG": (jpeg[: len(jpeg) // 2], "image/jpeg", *unreadable),
        "half a TIFF": (tiff[: len(tiff) // 2], "image/tiff", *unreadable),
        "half a PDF": (pdf[: len(pdf) // 2], "application/pdf", *unreadable),
        "noise after %PDF": (b"%PDF-1.7\n" + os.urandom(3000), "application/pdf", *unreadable),
        "a TIFF whose pages go in circles": (
            tiff[:4] + b"\x08\0\0\0" + b"\0\0" + b"\x08\0\0\0",
            "image/tiff",
            *unreadable,
        ),
        "a PNG in gzip": (gzip.compress(good), "image/png", 415, "unsupported-image"),
        "a drawing": (b'<?xml version="1.0"?><svg/>', "image/svg+xml", 415, "unsupported-image"),
        "a header of 10 gigapixels": (pictures.png_that_claims(100_000, 100_000), "image/png", *too_large),
        "a header of 2^32 pixels a side": (pictures.png_that_claims(2**32 - 1, 2**32 - 1), "image/png", *too_large),
        "a header of no pixels": (pictures.png_that_claims(0, 10), "image/png", *unreadable),
        "a thread": (pictures.encoded("image/png", Image.new("L", (1, 100_000))), "image/png", *too_large),
        "a bomb": (pictures.encoded("image/png", Image.new("1", (2100, 2100))), "image/png", *too_large),
        "a PDF behind a password": (pictures.encrypted(pdf), "application/pdf", 422, "pdf-encrypted"),
        "a PDF of 500 pages": (pictures.pdf_of_blank_pages(500), "application/pdf", *too_large),
        "a PDF of a page of 700 metres": (pictures.pdf_of_blank_pages(1, 2e6), "application/pdf", *too_large),
        "a page that is not there": (pdf, "application/pdf?pages=7", 422, "pages-beyond-end"),
    }


CORPUS = corpus()


@pytest.mark.parametrize("name", CORPUS)
def test_a_bad_image_is_a_documented_problem(read: Read, name: str) -> None:
    """Each unreadable image answers its documented problem, and the engine process survives."""
    image, media_type, status, slug = CORPUS[name]
    media_type, _, pages = media_type.partition("?pages=")
    pid = read.service.engine()["pid"]

    query = {"pages": pages} if pages else {}
    assert read.problem(image, media_type, **query) == (status, slug)

    assert read.service.engine()["pid"] == pid


@pytest.mark.slow
def test_a_page_that_the_engine_does_not_find_is_no_empty_answer(read: Read) -> None:
    """A PDF whose page tree names a missing object is 422, and not an answer with fewer pages."""
    content = one_page(b"").replace(b"/Kids[3 0 R]/Count 1", b"/Kids[null 99 0 R 3 0 R]/Count 3")

    answer = read(content, "application/pdf")

    assert problem_of(answer) == (422, "image-unreadable")
    assert "3 pages" in answer.json()["detail"]


def test_odd_but_good_images_are_read(read: Read) -> None:
    """Images in CMYK, 16 bits, one bit or with transparency are read, and of an animation the first frame."""
    grey = pictures.page(*SHORT, mode="L")
    sixteen = Image.new("I;16", grey.size)
    sixteen.putdata([value * 257 for value in grey.tobytes()])
    odd = {
        "image/jpeg": [grey.convert("CMYK")],
        "image/png": [sixteen, grey.convert("1"), grey.convert("LA")],
        "image/tiff": [grey.convert("CMYK"), sixteen],
    }

    for media_type, images in odd.items():
        for image in images:
            answer = read(pictures.encoded(media_type, image), media_type).raise_for_status().json()
            assert close_to("\n".join(SHORT), answer["text"]), (media_type, image.mode)
    animation = pictures.encoded("image/gif", grey, pictures.page("Something else", "on two lines", mode="L"))
    (page,) = read(animation, "image/gif").raise_for_status().json()["pages"]
    assert close_to("\n".join(SHORT), page["text"])


@pytest.mark.slow
def test_a_batch_of_files_as_a_job(read: Read) -> None:
    """In a job of three files the two good ones are recognised, and the damaged one has its problem."""
    post, get = read.service.client.post, read.service.client.get
    png = pictures.encoded("image/png", pictures.page(*SHORT))
    tiff = pictures.encoded("image/tiff", pictures.page(*SHORT), pictures.page("A second page", "of two lines"))
    images = {"page.png": (png, "image/png"), "half.png": (png[:500], "image/png"), "scan.tiff": (tiff, "image/tiff")}
    form = [("file", (name, *image)) for name, image in images.items()]

    location = post("/ocr", files=form, headers={"prefer": "respond-async"}).raise_for_status().headers["location"]
    eventually(lambda: get(location).json()["finished_at"], within=120)

    page, half, scan = get(f"{location}/results").raise_for_status().json()["results"]
    assert close_to("\n".join(SHORT), page["recognition"]["text"])
    assert (half["name"], half["error"]["type"].rpartition(":")[2]) == ("half.png", "image-unreadable")
    assert [each["number"] for each in scan["recognition"]["pages"]] == [1, 2]


def test_the_bytes_decide_what_a_file_is(read: Read) -> None:
    """`curl --data-binary` announces a form, programs write `image/jpg`, and names lie: all of them are read."""
    image = pictures.encoded("image/png", pictures.page(*SHORT))
    form = {"file": ("scan.jpg", image, "image/jpg")}

    answers = [
        read(image, "application/x-www-form-urlencoded"),
        read.service.client.post("/ocr", files=form),
    ]

    for answer in answers:
        (page,) = answer.raise_for_status().json()["pages"]
        assert close_to("\n".join(SHORT), page["text"])
        assert [warning["code"] for warning in page["warnings"]] == ["text-cut-by-evaluation"]


def test_a_photo_of_a_phone_is_read_upright(read: Read) -> None:
    """A JPEG without its last bytes whose Exif data says that it lies on its side is read, with a warning."""
    page, file, exif = pictures.page(*SHORT), io.BytesIO(), Image.Exif()
    exif[274] = 6
    page.transpose(Image.Transpose.ROTATE_90).save(file, "JPEG", exif=exif)

    response = read(file.getvalue()[:-2]).raise_for_status()

    (answer,) = response.json()["pages"]
    assert response.headers["x-page-warnings"] == "image-cut-short;page=1, text-cut-by-evaluation;page=1"

    assert close_to("\n".join(SHORT), answer["text"])
    assert (answer["width"], answer["height"]) == page.size
    assert [warning["code"] for warning in answer["warnings"]] == ["image-cut-short", "text-cut-by-evaluation"]


def test_a_pdf_that_only_restricts_its_readers_is_read(read: Read) -> None:
    """A PDF that opens without a password is read; one with a password is read if the request has the password."""
    plain = pictures.encoded("application/pdf", pictures.page(*SHORT))
    secret = pictures.encrypted(plain, "geheim %")

    assert close_to("\n".join(SHORT), read(pictures.encrypted(plain, "", "owner")).raise_for_status().json()["text"])
    for password, expected in {"geheim%20%25": 200, "wrong": 422}.items():
        answer = read.service.client.post("/ocr", content=secret, headers={"x-pdf-password": password})
        assert answer.status_code == expected


def test_what_was_asked_for_is_not_to_be_had(read: Read) -> None:
    """Formats, languages and parameters that are unknown or lack a file answer documented problems."""
    image = pictures.encoded("image/png", pictures.page(*SHORT))

    assert read.problem(image, accept="image/png") == (406, "not-acceptable")
    assert read.problem(image, language="elvish") == (422, "invalid-request")
    assert read.problem(image, language="rus") == (422, "resource-missing")
    assert read.problem(image, areas="table") == (422, "resource-missing")
    for query in ({"langauge": "eng"}, {"areas": "none"}, {"pages": "3-2"}, {"pages": "0"}):
        assert read.problem(image, **query) == (422, "invalid-request")


def test_forms_and_bodies_that_cannot_be_used(read: Read) -> None:
    """Broken forms, and forms without a file or with two, answer 422; bodies that are too large answer 413."""
    post = read.service.client.post
    image = ("file", ("a.png", b"x", "image/png"))
    whole = httpx.Request("POST", "http://x", files=[image])
    form = {"content-type": whole.headers["content-type"]}
    bodies = {
        "no file": post("/ocr", files=[("scan", image[1])]),
        "two files": post("/ocr", files=[image, image]),
        "cut": post("/ocr", content=whole.read()[:-10], headers=form),
        "broken": post("/ocr", content=b"no boundary anywhere", headers=form),
        "long boundary": post(
            "/ocr", content=b"x", headers={"content-type": f"multipart/form-data; boundary={'a' * 300}"}
        ),
        "no boundary": post("/ocr", content=b"x", headers={"content-type": "multipart/form-data"}),
    }

    for name, answer in bodies.items():
        assert problem_of(answer) == (422, "unsupported-form"), name
    assert read.problem(bytes(4_000_001)) == (413, "body-too-large")
    large = post("/ocr", files={"file": ("a.png", bytes(4_000_001), "image/png")})
    assert large.status_code == 413
    assert post("/ocr", content=iter([bytes(1 << 20)] * 5), headers={"content-type": "image/png"}).status_code == 413
