"""Recognition with real OCR models, where a folder of them can be had.

No package registry has real OCR models, so these tests are skipped unless OCR_TEST_RESOURCES names a folder with files
such as `aspose-ocr-cyrillic-v1.ocr`. docs/ocr-models.md says what is not shown without them.
"""

import importlib.metadata
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from app.engine.contract.wheel_facts import DISTRIBUTION, known_facts
from tests.support.clients.answers import problem_of
from tests.support.files import pictures
from tests.support.service import RunningService
from tests.support.skips import ELSEWHERE
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually

FOLDER = os.environ.get("OCR_TEST_RESOURCES", "")
FILES = sorted(Path(FOLDER).glob("*.ocr")) if FOLDER else []

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not FILES, reason=f"{ELSEWHERE}OCR_TEST_RESOURCES names no folder with real OCR models (*.ocr)"),
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningService]:
    """A service with the real engine, into whose running model folder the real OCR models are copied."""
    with RunningService(tmp_path_factory.mktemp("reader"), native_dir=NATIVE) as running:
        running.client.timeout = httpx.Timeout(600)
        running.wait_until_ready()
        for file in FILES:
            shutil.copy(file, running.models_dir)
        listed = [file.stem for file in FILES]
        eventually(lambda: running.engine()["resources_list_local"] == listed, within=60)
        yield running


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_language_that_needs_a_real_ocr_model_is_read(reader: RunningService, file: Path) -> None:
    """A recognition that needs the file succeeds without a restart; what the process has open cannot be deleted."""
    facts = known_facts(importlib.metadata.version(DISTRIBUTION))
    assert facts is not None
    languages = facts.uses_of(file.name).get("languages", [])
    if not languages:
        pytest.skip(f"{ELSEWHERE}no language needs {file.name}")
    image = pictures.encoded("image/png", pictures.page("The quick brown fox", "jumps over the lazy dog"))

    answer = reader.client.post(
        "/ocr", content=image, headers={"content-type": "image/png"}, params={"language": languages[0]}
    )

    assert answer.status_code == 200, answer.text
    opened = [each["model"] for each in reader.engine()["open_ocr_models"]]
    print(f"{file.name}: {file.stat().st_size} bytes, open afterwards: {opened}")
    if file.name in opened:
        assert problem_of(reader.client.delete(f"/models/{file.name}")) == (409, "model-in-use")


def test_a_release_closes_every_real_ocr_model(reader: RunningService) -> None:
    """After a release no OCR model is open, and each can be deleted."""
    reader.client.post("/engine/release").raise_for_status()
    reader.wait_until_ready()

    assert reader.engine()["open_ocr_models"] == []
    for file in FILES:
        assert reader.client.delete(f"/models/{file.name}", params={"dry_run": True}).status_code == 200
