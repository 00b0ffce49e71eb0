"""OCR models in the model folder, with the real engine: what it finds, what it needs, and what it refuses.

No real `.ocr` file can be had for these tests; docs/ocr-models.md says what they cannot show.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.files import pictures
from tests.support.service import RunningService
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
    pytest.mark.timeout(600),
]

CYRILLIC = "aspose-ocr-cyrillic-v1"
"""The OCR model of Russian, according to the vendor's package."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with the real engine."""
    with RunningService(tmp_path_factory.mktemp("reader"), native_dir=NATIVE) as running:
        running.client.timeout = httpx.Timeout(150)
        yield running.wait_until_ready()


@pytest.fixture(scope="module")
def image() -> bytes:
    """A small page."""
    return pictures.encoded("image/png", pictures.page("Hello"))


@pytest.fixture
def service(reader: RunningService) -> RunningService:
    """Return the service with an empty model folder."""
    return reader.clear().wait_until_ready()


def recognised(service: RunningService) -> dict[str, Any]:
    return {model["name"]: model["recognised"] for model in service.client.get("/models").json()["models"]}


def test_the_engine_finds_ocr_models_that_arrive_without_a_restart(service: RunningService) -> None:
    """A file that is uploaded and one that is copied in become `recognised`, and one that is deleted is not listed."""
    pid = service.engine()["pid"]
    service.client.put(f"/models/{CYRILLIC}.ocr", content=b"x" * 5000).raise_for_status()
    (service.models_dir / "aspose-ocr-arabic-v1.ocr").write_bytes(b"x")
    (service.models_dir / "other.bin").write_bytes(b"x")

    found = {f"{CYRILLIC}.ocr": True, "aspose-ocr-arabic-v1.ocr": True, "other.bin": False}
    eventually(lambda: recognised(service) == found, within=60)
    assert service.engine()["resources_list_local"] == ["aspose-ocr-arabic-v1", CYRILLIC]

    service.client.delete(f"/models/{CYRILLIC}.ocr").raise_for_status()
    eventually(lambda: service.engine()["resources_list_local"] == ["aspose-ocr-arabic-v1"], within=60)
    assert service.engine()["pid"] == pid


def test_an_ocr_model_where_the_engine_does_not_look_has_a_remark(service: RunningService) -> None:
    """An OCR model in a subfolder or with a suffix in capitals is not recognised, and its detail says why."""
    (service.models_dir / "sub").mkdir()
    (service.models_dir / f"sub/{CYRILLIC}.ocr").write_bytes(b"x")
    (service.models_dir / f"{CYRILLIC}.OCR").write_bytes(b"x")
    (service.models_dir / "aspose-ocr-arabic-v1.ocr").write_bytes(b"x")
    eventually(
        lambda: (
            recognised(service)
            == {f"sub/{CYRILLIC}.ocr": False, f"{CYRILLIC}.OCR": False, "aspose-ocr-arabic-v1.ocr": True}
        ),
        within=60,
    )

    remarks = {name: service.client.get(f"/models/{name}").json()["remark"] for name in recognised(service)}
    assert "only in the model folder itself" in remarks[f"sub/{CYRILLIC}.ocr"]
    assert f"upload or pull it as '{CYRILLIC}.ocr'" in remarks[f"sub/{CYRILLIC}.ocr"]
    assert "lower case" in remarks[f"{CYRILLIC}.OCR"]
    assert remarks["aspose-ocr-arabic-v1.ocr"] is None


def test_a_model_says_what_needs_it(service: RunningService) -> None:
    """An OCR model's detail says what of the vendor's package needs it; another model's detail says nothing."""
    names = (f"{CYRILLIC}.ocr", f"sub/{CYRILLIC}.ocr", "aspose-ocr-hindi-v1.ocr", "a.bin")
    needs = [
        service.client.put(f"/models/{name}", content=b"x").raise_for_status().json()["needed_for"] for name in names
    ]

    assert needs[0] == needs[1] == service.client.get(f"/models/{names[0]}").json()["needed_for"]
    assert {"rus", "ukr"} <= set(needs[0]["languages"])
    assert "eng" not in needs[0]["languages"]
    assert needs[2] == {"languages": [], "areas": [], "methods": [], "filters": []}
    assert needs[3] is None


def problem(service: RunningService, image: bytes, **query: str) -> dict[str, Any]:
    """Recognise an image; return the problem, with the last part of its type."""
    answer = service.client.post("/ocr", content=image, headers={"content-type": "image/png"}, params=query)
    found: dict[str, Any] = answer.json()
    return found | {"type": found["type"].rpartition(":")[2]}


def test_a_recognition_without_its_ocr_model_names_the_file_and_the_call_that_brings_it(
    service: RunningService, image: bytes
) -> None:
    """Russian without its OCR model answers the file, the pull and the command; so does the area `table`."""
    russian = problem(service, image, language="rus")
    table = problem(service, image, areas="table")

    assert (russian["status"], russian["type"]) == (422, "resource-missing")
    assert (russian["file"], russian["pull"]) == (f"{CYRILLIC}.ocr", {"resource": CYRILLIC})
    assert f'POST /pulls {{"resource": "{CYRILLIC}"}}' in russian["detail"]
    assert f"`ocr-models models pull {CYRILLIC}`" in russian["detail"]
    assert table["resource"] == "aspose-ocr-advanced-recognition-v1"


def test_a_recognition_with_an_ocr_model_of_a_wrong_size_says_that_the_engine_refuses_it(
    service: RunningService, image: bytes
) -> None:
    """The next recognition after the file arrived says that it is there, and that the engine refuses its size."""
    pid = service.engine()["pid"]
    service.client.put(f"/models/{CYRILLIC}.ocr", content=b"x" * 5000).raise_for_status()

    russian = problem(service, image, language="rus")

    assert (russian["status"], russian["type"]) == (422, "resource-refused")
    assert (russian["file"], russian["size_bytes"]) == (f"{CYRILLIC}.ocr", 5000)
    assert russian["pull"] == {"resource": CYRILLIC, "if_exists": "replace"}
    assert "refused this file" in service.client.get(f"/models/{CYRILLIC}.ocr").json()["remark"]
    languages = service.client.get("/engine/capabilities").json()["languages"]
    told = next(each for each in languages if each["name"] == "rus")
    assert (told["available"], told["requires"], told["refused"]) == (False, [], [f"{CYRILLIC}.ocr"])
    assert told["pulls"] == [russian["pull"]]

    (service.models_dir / f"{CYRILLIC}.ocr").write_bytes(b"x" * 6000)
    assert service.client.get(f"/models/{CYRILLIC}.ocr").json()["remark"] is None
    service.client.delete(f"/models/{CYRILLIC}.ocr").raise_for_status()
    assert problem(service, image, language="rus")["type"] == "resource-missing"
    assert service.engine()["pid"] == pid
