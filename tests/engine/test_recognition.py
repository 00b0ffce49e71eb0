"""The service's side of recognition: each answer of the engine process without a result becomes an error."""

import json
from pathlib import Path
from typing import Any

import pytest

from app.engine.contract.recognition_call import ImageLimits, RecognitionOptions
from app.engine.recognition import REFUSALS, recognise
from app.engine.states import EngineState
from app.errors import EngineCallFailed, EngineLacks, ImageError, ServiceError, UnreadableImage, UnsupportedImage
from tests.support.supervised import supervised

pytestmark = pytest.mark.anyio

OPTIONS = RecognitionOptions("eng", "auto", auto_skew=False, upscale=False, pages=None, save_as=None)


def subclasses(of: type[ServiceError]) -> set[type[ServiceError]]:
    return {each for direct in of.__subclasses__() for each in (direct, *subclasses(direct))}


def test_every_error_about_an_image_may_cross() -> None:
    """REFUSALS has every subclass of ImageError."""
    assert set(REFUSALS.values()) == subclasses(ImageError)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ({"refused": "UnreadableImage", "facts": {"reason": "it is empty"}}, UnreadableImage),
        ({"refused": "UnsupportedImage", "facts": {"what": "a song", "known": "PNG"}}, UnsupportedImage),
        ({"lacks": "recognition", "reason": "no libcrypto"}, EngineLacks),
        ({"lacks": "no such capability", "reason": "no libcrypto"}, EngineCallFailed),
        ({"refused": "NoSuchError", "facts": {}}, EngineCallFailed),
        ({"refused": "EngineDied", "facts": {"exit_reason": "it says so"}}, EngineCallFailed),
        ({"refused": "UnreadableImage", "facts": {"why": "a field of another version"}}, EngineCallFailed),
        ({"refused": "UnreadableImage"}, EngineCallFailed),
        ([], EngineCallFailed),
    ],
)
async def test_an_answer_without_a_result_is_an_error(answer: Any, error: type[ServiceError], tmp_path: Path) -> None:
    """An answer without a result raises the error that it names, or EngineCallFailed, and the engine stays ready."""
    image = tmp_path / "image"
    image.write_text(json.dumps(answer))
    async with supervised(tmp_path, "Refuses") as engine:
        supervisor = await engine.until(EngineState.READY)

        with pytest.raises(error):
            await recognise(supervisor, image, OPTIONS, ImageLimits(1, 1), seconds=60)

        assert supervisor.state is EngineState.READY
        # A refusal is not counted as a recognition that succeeded, whatever the service makes of its facts.
        called = [fields["outcome"] for event, fields in engine.events if event == "engine.called"]
        assert called == ["refused" if isinstance(answer, dict) else "ok"]


@pytest.mark.parametrize("capability", ["recognition", "ai"])
async def test_a_missing_capability_is_named(capability: str, tmp_path: Path) -> None:
    """EngineLacks names the capability that the engine process lacks: `ai` if only tables need the library."""
    image = tmp_path / "image"
    image.write_text(json.dumps({"lacks": capability, "reason": "no such library"}))
    async with supervised(tmp_path, "Refuses") as engine:
        supervisor = await engine.until(EngineState.READY)

        with pytest.raises(EngineLacks, match="no such library") as raised:
            await recognise(supervisor, image, OPTIONS, ImageLimits(1, 1), seconds=60)

        assert raised.value.capability == capability
