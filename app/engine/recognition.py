"""Recognition as the service asks for it: an image in a folder of its own, one call, its result in the same folder.

The folder lies below the service's own in the state folder, so that it goes with the service, however that ends.
"""

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app import errors
from app.engine.contract.recognition import PAGES_FILE, ImageLimits, RecognitionOptions
from app.engine.supervisor import Supervisor

REFUSALS: dict[str, type[errors.ImageError]] = {
    error.__name__: error
    for error in (
        errors.UnsupportedImage,
        errors.UnreadableImage,
        errors.ImageTooLarge,
        errors.EncryptedPdf,
        errors.ResourceMissing,
        errors.UnknownLanguage,
    )
}


@dataclass(frozen=True, slots=True)
class Recognition:
    """What came of it."""

    pages: list[dict[str, Any]]
    seconds: float
    """In the engine, without the wait for its turn."""
    document: Path | None
    """The file of the format that was asked for."""


async def recognise(
    supervisor: Supervisor,
    image: Path,
    media_type: str | None,
    wish: RecognitionOptions,
    limits: ImageLimits,
    *,
    seconds: float,
    bypass_limit: bool = False,
) -> Recognition:
    """Read an image with the engine. Raises any ImageError, and any EngineError; EngineLacks among them.

    For whom was admitted before, and comes back for more, the engine is never busy.
    """
    params = {"image": str(image), "media_type": media_type, "wish": asdict(wish), "limits": asdict(limits)}
    answer = await supervisor.call("recognise", params, seconds=seconds, bypass_limit=bypass_limit)
    match answer:
        case {"refused": str(name), "facts": dict(facts)}:
            raise REFUSALS[name](**facts)
        case {"unavailable": str(reason)}:
            raise errors.EngineLacks("recognition", reason)
        case {"seconds": float(took), "document": str() | None as document}:
            pages = await asyncio.to_thread(_read, image.parent / PAGES_FILE)
            return Recognition(pages, took, image.parent / document if document else None)
    raise errors.EngineCallFailed(f"it answered {answer!r:.200}")


def _read(path: Path) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = json.loads(path.read_bytes())
    return pages
