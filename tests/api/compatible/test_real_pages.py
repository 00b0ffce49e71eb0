"""The drop-in addresses with the real engine: documents of two pages, and the examples of docs/compatible.md."""

import base64
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest
from docling_serve_sdk import DoclingClient
from mistralai.client import Mistral
from PIL import Image

from tests.support.clients.consoles import check_answers, steps
from tests.support.files.pictures import encoded
from tests.support.service import ROOT, RunningService
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.skipif(not (ROOT / "native").is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
]

PAGE = (ROOT / "docs" / "compatible.md").read_text()
PARTS = ((0, 0, 760, 170), (0, 370, 760, 536))
"""The boxes of the first and the last lines of the sample page, in pixels. Each is a page here, to take less time."""
BEGINNINGS = ("Harbour Road", "Please pay")


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """Run a service with the real engine. Its folder has the top of the sample page and a document of both parts."""
    folder = tmp_path_factory.mktemp("real")
    (folder / "docs").mkdir()
    with Image.open(ROOT / "docs" / "sample-page.png") as page:
        first, second = (page.crop(box) for box in PARTS)
    first.save(folder / "docs" / "sample-page.png")
    (folder / "both.tiff").write_bytes(encoded("image/tiff", first, second))
    with RunningService(folder, compatible="openwebui,docling,mistral", native_dir=ROOT / "native") as running:
        running.client.timeout = 300
        eventually(lambda: running.client.get("/readyz").status_code == 200, within=300)
        yield running


def test_open_webui_gets_both_pages(service: RunningService) -> None:
    document = (service.folder / "both.tiff").read_bytes()
    pages = service.client.put("/process", content=document, headers={"x-filename": "both.tiff"}).json()
    for number, (page, beginning) in enumerate(zip(pages, BEGINNINGS, strict=True)):
        assert page["page_content"].startswith(beginning)
        assert page["metadata"] == {"source": "both.tiff", "page": number}


def test_mistrals_client_gets_the_markdown_of_each_page(service: RunningService) -> None:
    """Each page is an element of the answer; `pages` chooses pages, and `index` is a page's place in the document."""
    data = base64.b64encode((service.folder / "both.tiff").read_bytes()).decode()
    document = {"type": "document_url", "document_url": f"data:image/tiff;base64,{data}"}
    with Mistral(api_key="any", server_url=service.url, timeout_ms=300_000) as mistral:
        pages = mistral.ocr.process(model="mistral-ocr-latest", document=document).pages
        for number, (page, beginning) in enumerate(zip(pages, BEGINNINGS, strict=True)):
            assert (page.index, page.markdown[: len(beginning)]) == (number, beginning)

        (page,) = mistral.ocr.process(model="mistral-ocr-latest", document=document, pages=[1]).pages
        assert (page.index, page.markdown[: len(BEGINNINGS[1])]) == (1, BEGINNINGS[1])


def test_a_client_of_docling_serve_gets_both_pages_in_one_document(service: RunningService) -> None:
    converted = DoclingClient(service.url, timeout=300).convert_file(service.folder / "both.tiff")
    first, second = converted.document["md_content"].split("\n\n---\n\n")
    assert first.startswith(BEGINNINGS[0])
    assert second.startswith(BEGINNINGS[1])


def test_the_examples_of_the_page(service: RunningService) -> None:
    """Each command and the program of the page answer what the page says."""
    check_answers(steps(PAGE), service.url, service.folder, lambda _: None)

    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", program.replace("http://127.0.0.1:8000", service.url)],
        cwd=service.folder,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Harbour Road Bookshop")
