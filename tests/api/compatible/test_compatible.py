"""The drop-in addresses, called by the real clients of other OCR services, or as these clients call them."""

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from docling_serve_sdk import DoclingAPIError, DoclingClient
from mistralai.client import Mistral
from mistralai.client.errors import SDKError

from app.api.http.keys import Scope, entry_for, new_key
from app.api.routers import COMPATIBLE
from app.settings import COMPATIBLE as NAMES
from tests.conftest import Serve
from tests.support.service import RunningService

KEY = new_key()
READS = "tests.support.engines:Reads"


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    folder = tmp_path_factory.mktemp("compatible")
    (folder / "keys.toml").write_text(entry_for("clients", list(Scope), KEY))
    settings: dict[str, Any] = {"compatible": "openwebui,docling,mistral", "compatible_language": "deu"}
    with RunningService(
        folder, engine_class=READS, api_keys_file=folder / "keys.toml", max_image_bytes=200_000, **settings
    ) as running:
        yield running.wait_until_ready()


def processed(service: RunningService, body: bytes, key: str = KEY) -> httpx.Response:
    """Send what `ExternalDocumentLoader.load` of Open WebUI sends (retrieval/loaders/external_document.py)."""
    headers = {"Content-Type": "image/png", "Authorization": f"Bearer {key}", "X-Filename": "M%C3%BCller.png"}
    return httpx.put(f"{service.url}/process", content=body, headers=headers, timeout=100)


def test_the_settings_name_every_address() -> None:
    assert set(NAMES) == set(COMPATIBLE)


def test_they_are_off_by_default(serve: Serve) -> None:
    """Without OCR_COMPATIBLE none of the addresses exists."""
    client = serve(engine_class=READS).client
    answers = [client.put("/process"), client.post("/v1/convert/file"), client.post("/v1/ocr")]
    assert [answer.status_code for answer in answers] == [404, 404, 404]


def test_open_webui_gets_the_text_of_each_page(service: RunningService) -> None:
    answer = processed(service, b"read Rechnung 4711")
    assert answer.json() == [{"page_content": "Rechnung 4711", "metadata": {"source": "Müller.png", "page": 0}}]
    assert answer.headers["x-truncated-by-evaluation"] == "false"
    assert '"language": "deu"' in processed(service, b"options").json()[0]["page_content"]
    assert processed(service, b"read it", "ocr_wrong").status_code == 401
    assert processed(service, b"x" * 200_001).status_code == 413


def test_a_client_of_docling_serve_converts_a_file(service: RunningService, tmp_path: Path) -> None:
    """docling-serve-sdk sends its dozens of options and gets Markdown; a refusal has a sentence."""
    page = tmp_path / "page.png"
    page.write_bytes(b"read Invoice 4711")
    converted = DoclingClient(service.url, KEY).convert_file(page)
    assert converted.status == "success"
    assert (converted.document["filename"], converted.document["md_content"]) == ("page.png", "Invoice 4711")

    page.write_bytes(b"fail 1")
    with pytest.raises(DoclingAPIError, match="engine"):
        DoclingClient(service.url, KEY).convert_file(page)


def convert(service: RunningService, *, headers: dict[str, str] | None = None, **fields: Any) -> httpx.Response:
    """Send what `DoclingLoader.load` of Open WebUI sends (retrieval/loaders/main.py), with other fields."""
    files = {"files": ("/data/page.png", b"read Invoice 4711", "image/png")}
    return httpx.post(
        f"{service.url}/v1/convert/file",
        files=files,
        data={"image_export_mode": "placeholder", **fields},
        headers={"X-Api-Key": KEY} if headers is None else headers,
        timeout=100,
    )


def test_open_webui_speaks_to_docling_with_its_own_header(service: RunningService) -> None:
    """The key may be in `X-Api-Key`; the fields that matter have an effect, and those that cannot are refused."""
    assert convert(service).json()["document"]["md_content"] == "Invoice 4711"
    text = convert(service, to_formats="text", ocr_lang=["de"], page_range=["1", "9223372036854775807"]).json()
    assert (text["document"]["text_content"], text["document"]["md_content"]) == ("Invoice 4711", None)
    assert convert(service, headers={}).status_code == 401
    assert convert(service, headers={"X-Api-Key": "ocr_wrong"}).status_code == 401
    for fields in (
        {"to_formats": "doctags"},
        {"to_formats": ["md", "html"]},
        {"page_range": "1"},
        {"target_type": "zip"},
        {"ocr_lang": "klingonish"},
    ):
        assert convert(service, **fields).status_code == 422, fields
    assert convert(service, picture_description="x" * 100_000).status_code == 422


def data_url(body: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(body).decode()}"


def test_mistrals_client_reads_a_document(service: RunningService) -> None:
    with Mistral(api_key=KEY, server_url=service.url) as mistral:
        asked = {"type": "document_url", "document_url": data_url(b"read Invoice 4711")}
        answer = mistral.ocr.process(model="mistral-ocr-latest", document=asked, pages=[0])
        assert [(page.index, page.markdown) for page in answer.pages] == [(0, "Invoice 4711")]
        assert (answer.model, answer.usage_info.doc_size_bytes) == ("mistral-ocr-latest", len(b"read Invoice 4711"))

        image = {"type": "image_url", "image_url": {"url": data_url(b"read " + b"x" * 150_000)}}
        assert len(mistral.ocr.process(model=None, document=image).pages[0].markdown) == 150_000

        elsewhere = {"type": "document_url", "document_url": "https://files.example/scan.pdf"}
        with pytest.raises(SDKError, match="data: URL"):
            mistral.ocr.process(model="mistral-ocr-latest", document=elsewhere)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ('{"document": {"document_url": "data:image/png;base64,cmVhZCB4"}, "pages": "0-9"}', 200),
        ('{"document": {"document_url": "data:image\\/png;base64,cmVhZCA\\/Pz8="}}', 200),
        ('{"document": {"document_url": "data:image/png;base64,cmVhZC"}}', 422),
        ('{"document": {"document_url": "data:image/png;base64,c*Vh"}}', 422),
        ('{"document": {"document_url": "data:image/png;base64,cmVhZCB4', 422),
        ('{"document": {"document_url": "data:image/png;base64,cmVhZCB4"}, "pages": "x"}', 422),
        ('{"model": ";base64,cmVhZCB4", "document": {"document_url": "data:,x"}}', 422),
        ('{"document": {"document_url": "data:image/png;base64,cmVhZCB4"}, "x": "' + "y" * 70_000 + '"}', 422),
        ("x" * 70_000, 422),
        ("", 422),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_body_that_is_not_a_document_is_refused(service: RunningService, body: str, status: int) -> None:
    headers = {"authorization": f"Bearer {KEY}", "content-type": "application/json"}
    answer = httpx.post(f"{service.url}/v1/ocr", content=body, headers=headers, timeout=100)
    assert answer.status_code == status, answer.text


def test_the_decoded_document_is_bounded(service: RunningService) -> None:
    headers = {"authorization": f"Bearer {KEY}"}
    body = {"document": {"document_url": data_url(b"x" * 200_001)}}
    assert httpx.post(f"{service.url}/v1/ocr", json=body, headers=headers, timeout=100).status_code == 413
