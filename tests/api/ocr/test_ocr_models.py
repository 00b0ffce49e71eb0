"""OCR models in the model folder, with the real engine: what it finds, what it needs, and what it refuses.

No real `.ocr` file can be had for these tests; docs/ocr-models.md says what they cannot show.
"""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support.service import RunningService
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
    pytest.mark.timeout(180),
]

CYRILLIC = "aspose-ocr-cyrillic-v1"
"""The OCR model of Russian, according to the vendor's package."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with the real engine."""
    with RunningService(tmp_path_factory.mktemp("reader"), native_dir=NATIVE) as running:
        running.client.timeout = httpx.Timeout(150)
        yield running.wait_until_ready()


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
