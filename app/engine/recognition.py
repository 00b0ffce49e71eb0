"""The service's side of recognition: send the path of an image to the engine process, read the pages it wrote.

Each image has a separate folder in the state folder. If this service is killed, the next service that starts removes
that folder.
"""

import asyncio
import json
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app import errors
from app.engine.contract.messages import CapabilityName
from app.engine.contract.recognition_call import PAGES_FILE, ImageLimits, RecognitionOptions
from app.engine.native.state_errors import explaining_state_errors, state_error_in
from app.engine.queue import Place
from app.engine.supervisor import Around, Supervisor

REFUSALS: dict[str, type[errors.ImageError]] = {
    error.__name__: error
    for error in (
        errors.UnsupportedImage,
        errors.UnreadableImage,
        errors.ImageTooLarge,
        errors.PagesBeyondEnd,
        errors.RegionOutsidePage,
        errors.EncryptedPdf,
        errors.ResourceMissing,
        errors.ResourceRefused,
        errors.UnknownLanguage,
    )
}
"""The errors about an image that the engine process may answer, by class name."""


@dataclass(frozen=True, slots=True)
class Recognition:
    """The result of recognising one image."""

    pages: list[dict[str, Any]]
    """The fields of each page that was read, as `app.engine.child.results.page_fields` makes them."""
    seconds: float
    """How long the engine worked, without the wait in the queue."""
    document: Path | None
    """The path of the requested document, beside the image; None if no document was requested."""


async def recognise(
    supervisor: Supervisor,
    image: Path,
    options: RecognitionOptions,
    limits: ImageLimits,
    *,
    seconds: float,
    password: str | None = None,
    place: Place | None = None,
    around: Around = lambda _: nullcontext(),
) -> Recognition:
    """Recognise an image with the engine. Raises any ImageError, EngineError and StateError.

    `password` opens an encrypted PDF. `place` is the place in the queue that a job has reserved: its images are never
    refused with EngineBusy. `around` returns the context in which the engine process is called.
    """
    params = {"image": str(image), "options": asdict(options), "limits": asdict(limits), "password": password}
    try:
        answer = await supervisor.call("recognise", params, seconds=seconds, place=place, around=around)
    except errors.EngineCallFailed as exc:
        if refused := state_error_in(exc.reason):
            raise refused from exc
        raise
    match answer:
        case {"refused": str(name), "facts": dict(facts)} if refusal := _refusal(name, facts):
            raise refusal
        case {"lacks": str(name), "reason": str(reason)} if name in set(CapabilityName):
            raise errors.EngineLacks(name, reason)
        case {"seconds": float(took), "document": str() | None as document}:
            with explaining_state_errors():
                pages = await asyncio.to_thread(_read, image.parent / PAGES_FILE)
            return Recognition(pages, took, image.parent / document if document else None)
    raise errors.EngineCallFailed(f"it sent an unknown answer: {answer!r:.200}")


def _refusal(name: str, facts: dict[str, Any]) -> errors.ImageError | None:
    """Return the ImageError with this class name and these facts; None if no class fits the name and the facts."""
    try:
        return REFUSALS[name](**facts)
    except (KeyError, TypeError):
        return None


def _read(path: Path) -> list[dict[str, Any]]:
    pages: list[dict[str, Any]] = json.loads(path.read_bytes())
    return pages
