"""Recognition as the service asks for it: an image in a folder of its own, one call, its result in the same folder.

The folder lies below the service's own in the state folder, so that it goes with the service, however that ends.
"""

import asyncio
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

from app import errors

MEDIA_TYPES = ("image/png", "image/jpeg", "image/tiff", "image/bmp", "image/gif", "application/pdf")
PAGES_FILE = "pages.json"
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


class Caller(Protocol):
    """What runs calls in the engine: the supervisor."""

    async def call(
        self, name: str, params: dict[str, Any] | None = None, *, seconds: float, bypass_limit: bool = False
    ) -> Any:  # noqa: ANN401
        """Call the engine when its turn has come; raises any EngineError."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What is read at most."""

    max_pixels: int
    """Of one page."""
    max_pages: int
    """In one call."""


@dataclass(frozen=True, slots=True)
class RecognitionOptions:
    """How an image is to be read."""

    language: str
    """A name of the vendor's `Language`, in lower case."""
    areas: str
    """A name of the vendor's `DetectAreasMode`, in lower case."""
    auto_skew: bool
    upscale: bool
    pages: tuple[int, int] | None
    """The first and the last page to read, counted from 1; None for all."""
    save_as: str | None
    """A name of the vendor's `SaveFormat`: what to write besides the pages."""
    tables: bool = False
    """Whether to give each page as a `table` too, a line for a row and a tab between two cells."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """What came of it."""

    pages: list[dict[str, Any]]
    seconds: float
    """In the engine, without the wait for its turn."""
    document: Path | None
    """The file of the format that was asked for."""


async def recognise(
    engine: Caller,
    image: Path,
    media_type: str | None,
    wish: RecognitionOptions,
    limits: Limits,
    *,
    seconds: float,
    bypass_limit: bool = False,
) -> Recognition:
    """Read an image with the engine. Raises any ImageError, and any EngineError; EngineLacks among them.

    For whom was admitted before, and comes back for more, the engine is never busy.
    """
    params = {"image": str(image), "media_type": media_type, "wish": asdict(wish), "limits": asdict(limits)}
    answer = await engine.call("recognise", params, seconds=seconds, bypass_limit=bypass_limit)
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
