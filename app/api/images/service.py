"""Recognition of received images, for `/ocr` and `/ai/table`."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Annotated

from anyio import to_thread
from fastapi import Request

from app.api.http import threads
from app.api.http.deps import part
from app.api.http.disconnects import cancel_on_disconnect
from app.api.images.downloads import ImageDownloads, label_of_image
from app.api.images.received import Image, ImageBody, Received
from app.api.images.receiver import ImageReceiver
from app.api.images.uploads import Uploads
from app.engine.contract.messages import CapabilityName
from app.engine.contract.recognition_call import ImageLimits, RecognitionOptions
from app.engine.native.state_errors import explaining_state_errors
from app.engine.ocr_model_leases import OcrModelLeases
from app.engine.ocr_model_refusals import OcrModelRefusals
from app.engine.queue import Place
from app.engine.recognition import Recognition, recognise
from app.engine.supervisor import Supervisor
from app.errors import ResourceRefused
from app.jobs.units.new_units import NewUnits
from app.jobs.units.records import Unit
from app.jobs.units.unit_claims import Claim
from app.store.records.reader import chunks_of
from app.store.volume.refusals import refusal_of


class RecognitionService:
    """Receives images and recognises them, one at a time."""

    def __init__(
        self,
        supervisor: Supervisor,
        receiver: ImageReceiver,
        downloads: ImageDownloads,
        leases: OcrModelLeases,
        refusals: OcrModelRefusals,
        limits: ImageLimits,
        *,
        max_files: int,
        seconds: float,
    ) -> None:
        """`max_files` is how many images a job may have, `seconds` how long the engine may work on one image."""
        self._supervisor = supervisor
        self._leases = leases
        self._refusals = refusals
        self._receiver = receiver
        self._downloads = downloads
        self._limits = limits
        self._max_files = max_files
        self._seconds = seconds

    def require_available(self, *, tables: bool = False) -> None:
        """Raise EngineNotReady, EngineBusy or EngineLacks if no image could be recognised now.

        Call this before the body is received, so that a large body is not read only to be refused.
        """
        self._supervisor.require_queue_space()
        self.require_capability()
        if tables:
            self._supervisor.require_capability(CapabilityName.AI)

    def require_capability(self) -> None:
        """Raise EngineLacks if this machine is known to lack what recognition needs."""
        self._supervisor.require_capability(CapabilityName.RECOGNITION)

    @asynccontextmanager
    async def receive_one(self, body: ImageBody, options: frozenset[str]) -> AsyncIterator[Received]:
        """Receive the image of a request, or its URL. Its file is removed when the context ends.

        `options` has the names of the options that the body may have. Raises what `ImageReceiver.receive` raises.
        """
        async with self._receiver.receive(body, options) as received:
            yield received

    async def receive_job(self, new: NewUnits, body: ImageBody, options: frozenset[str]) -> Received:
        """Receive the images of a job, or their URLs, as the units of the job. The URLs are downloaded later.

        `options` has the names of the options that the body may have. Raises what `ImageReceiver.receive_units` raises,
        and SourceNotAllowed if none of the URLs is allowed.
        """
        received = await self._receiver.receive_units(new, body, options, self._max_files)
        units = _units_of(received.images)
        units += [Unit(label_of_image(url), url=url, password=received.password) for url in received.urls]
        self._downloads.check(received.urls)
        await to_thread.run_sync(new.add_all, units, limiter=threads.images)
        return received

    async def take_uploads(self, new: NewUnits, uploads: Uploads, password: str | None) -> None:
        """Make finished uploads the units of a job. Raises what `ImageReceiver.take_uploads` raises."""
        images = await self._receiver.take_uploads(new, uploads, password, self._max_files)
        await to_thread.run_sync(new.add_all, _units_of(images), limiter=threads.images)

    async def image(self, request: Request, received: Received) -> Image:
        """Return the image of a request; download it if the request has its URL.

        Call this before a place in the queue is taken, since a source may be slow. The download ends if the caller
        disconnects. Raises a SourceError, ImageTooLarge, a StateError and CallerGone.
        """
        if not received.urls:
            return received.images[0]
        return await cancel_on_disconnect(
            request, self._downloads.fetch(received.urls[0], received.folder, received.password)
        )

    async def image_of_unit(self, claim: Claim, folder: Path) -> Image:
        """Copy the file of a job's unit into a folder of its own, or download it from its URL.

        The copy keeps the engine off a slow volume, and no other program can replace it. Raises what `image` raises,
        and what `copy_of_unit` raises.
        """
        unit = claim.unit
        if unit.url is not None:
            return await self._downloads.fetch(unit.url, folder, unit.password)
        source = claim.folder.input_of(claim.number)
        await to_thread.run_sync(copy_of_unit, source, folder / "image", limiter=threads.images)
        return Image(folder / "image", unit.name, unit.password)

    @asynccontextmanager
    async def folder_for_unit(self) -> AsyncIterator[Path]:
        """Make a folder for the data of one unit, which is removed at the end. Raises StateFull, StateUnavailable."""
        async with self._receiver.folder() as folder:
            yield folder

    async def close(self) -> None:
        """Close the connections to the sources of images."""
        await self._downloads.aclose()

    def place_for_unit(self) -> Place:
        """Return the place of a unit of a job in the engine's queue."""
        return self._supervisor.place_for_unit()

    async def recognise(self, image: Image, options: RecognitionOptions, place: Place | None = None) -> Recognition:
        """Recognise one image. Raises any ImageError and any EngineError.

        The document, if one is requested, lies beside the image and is removed with it.
        """
        try:
            return await recognise(
                self._supervisor,
                image.path,
                options,
                self._limits,
                seconds=self._seconds,
                password=image.password,
                place=place,
                around=lambda process: self._leases.during(process, options),
            )
        except ResourceRefused as exc:
            self._refusals.note(exc)
            raise


def _units_of(images: list[Image]) -> list[Unit]:
    return [Unit(each.name, password=each.password, unreadable=each.unreadable) for each in images]


def copy_of_unit(source: Path, target: Path) -> None:
    """Copy a unit's file from the model folder to the state folder, without following links.

    Raises FileNotFoundError and RecordDamaged, StoreUnavailable and the like if the model folder does not answer, and a
    StateError if the state folder cannot be written.
    """
    with explaining_state_errors():
        written = target.open("xb")
    with written:
        try:
            for chunk in chunks_of(source):
                with explaining_state_errors():
                    written.write(chunk)
        except FileNotFoundError:
            raise
        except OSError as exc:
            raise refusal_of(exc) from exc
        with explaining_state_errors():
            written.flush()


RecognitionServiceDep = Annotated[RecognitionService, part("recognition_service")]
