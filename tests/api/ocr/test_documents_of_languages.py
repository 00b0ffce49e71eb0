"""Searchable PDFs and hOCR in four languages, from the real engine's lines, as programs of others read them."""

import re
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from typing import Any

import httpx
import pytest
from hocr_tools_lib.tools.hocr_check import Checker
from hocr_tools_lib.tools.hocr_lines import lines as hocr_lines
from lxml import etree
from PIL import ImageFont

from app.engine.contract.document_formats import DocumentFormat
from tests.corpus.language_files import FONT, IN_ALL_FORMATS, POINTS, TEXTS
from tests.engine.child.documents.recognised import written
from tests.support.files import pictures
from tests.support.service import RunningService
from tests.support.supervised import NATIVE

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
    pytest.mark.skipif(not FONT.is_file(), reason="fonts-dejavu-core is not installed"),
    pytest.mark.skipif(not shutil.which("pdftotext"), reason="poppler-utils is not installed"),
    pytest.mark.timeout(600),
]
Box = tuple[float, float, float, float]


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with the real engine."""
    with RunningService(tmp_path_factory.mktemp("languages"), native_dir=NATIVE) as running:
        running.client.timeout = httpx.Timeout(500)
        yield running.wait_until_ready()


def words_of_pdf(path: Path) -> list[tuple[str, Box]]:
    """Return the words that `pdftotext -bbox` finds, with their boxes in points."""
    found = subprocess.run(["pdftotext", "-bbox", path, "-"], check=True, capture_output=True, text=True).stdout
    pattern = r'xMin="([-\d.]+)" yMin="([-\d.]+)" xMax="([-\d.]+)" yMax="([-\d.]+)">([^<]+)<'
    return [(unescape(word), _box(box)) for *box, word in re.findall(pattern, found)]


def words_of_hocr(path: Path) -> list[tuple[str, Box]]:
    """Return the words of an hOCR file, with their boxes in pixels."""
    words = etree.parse(path).iterfind(".//{*}span[@class='ocrx_word']")
    return [(word.text, _box(word.get("title").split()[1:5])) for word in words]


def _box(numbers: list[str]) -> Box:
    left, upper, right, lower = (float(number.rstrip(";")) for number in numbers)
    return left, upper, right, lower


def assert_on_the_words(words: list[tuple[str, Box]], page: dict[str, Any], lines: list[str], scale: float) -> None:
    """Require that words are those of the page's lines, and lie where the drawn words are, give or take two letters."""
    font, given = ImageFont.truetype(str(FONT), POINTS), iter(words)
    for number, (line, drawn) in enumerate(zip(page["lines"], lines, strict=False)):
        for nth, expected in enumerate(line["text"].split()):
            word, (left, upper, right, lower) = next(given)
            assert word == expected
            if len(line["text"].split()) != len(drawn.split()):
                continue
            before = " ".join(drawn.split()[:nth])
            at = POINTS + font.getlength(f"{before} " if before else "")
            end = at + font.getlength(drawn.split()[nth])
            assert (left / scale, right / scale) == pytest.approx((at, end), abs=1.5 * POINTS), word
            assert upper / scale < (number + 1) * POINTS * 1.5 + POINTS / 2 < lower / scale, word
    assert next(given, None) is None


@pytest.mark.parametrize("language", IN_ALL_FORMATS)
def test_documents_of_a_language(
    service: RunningService, language: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """`pdftotext -bbox` and hocr-tools find each word of the engine's lines, letter by letter and on the drawn word."""
    # The unlicensed engine gives lines with boxes only for pages of more than 300 characters.
    lines = [*TEXTS[language][1:3]] * 5
    image = tmp_path / "page.png"
    pictures.page(*lines, points=POINTS, mode="L", font=str(FONT)).save(image, dpi=(150, 150))
    answer = service.client.post("/ocr", content=image.read_bytes(), params={"language": language})
    (page,) = answer.raise_for_status().json()["pages"]
    assert len(page["lines"]) >= 4
    accented = {letter for letter in "".join(lines) if ord(letter) > 127}
    # The engine misreads some of them, which is no matter of the documents.
    assert len(accented & set(page["text"])) > len(accented) / 2

    pdf, hocr = (
        written(tmp_path, each, page, path=image, language=language)
        for each in (DocumentFormat.PDF, DocumentFormat.HOCR)
    )
    assert_on_the_words(words_of_pdf(pdf), page, lines, 72 / 150)
    assert_on_the_words(words_of_hocr(hocr), page, lines, 1)
    assert [*hocr_lines(hocr)] == [" ".join(line["text"].split()) for line in page["lines"]]
    Checker(hocr).check()
    assert [line for line in capsys.readouterr().err.splitlines() if not line.startswith("ok")] == []
