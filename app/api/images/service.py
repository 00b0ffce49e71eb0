"""Recognition of received images, for `/ocr` and `/ai/table`."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Annotated

from fastapi import Request

from app.api.http.deps import part
from app.api.http.disconnects import cancel_on_disconnect
from app.api.images.downloads import ImageDownloads
from app.api.images.received import Image, ImageBody, Received
from app.api.images.receiver import ImageReceiver
from app.engine.contract.messages import CapabilityName
from app.engine.contract.recognition_call import ImageLimits, RecognitionOptions
from app.engine.ocr_model_leases import OcrModelLeases
from app.engine.ocr_model_refusals import OcrModelRefusals
from app.engine.queue import Place
from app.engine.recognition import Recognition, recognise
from app.engine.states import MAX_DEATHS_OF_ONE_REQUEST
from app.engine.supervisor import Supervisor
from app.errors import EngineDied, EngineTimedOut, ResourceRefused, ServiceError


@dataclass(frozen=True, slots=True)
class ImageOutcome:
    """The result of one image of a job: its recognition, or the error."""

    name: str | None
    recognition: Recognition | None
    error: ServiceError | None


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
        self._supervisor.require_capability(CapabilityName.RECOGNITION)
        if tables:
            self._supervisor.require_capability(CapabilityName.AI)

    @asynccontextmanager
    async def receive_one(self, body: ImageBody, options: frozenset[str]) -> AsyncIterator[Received]:
        """Receive the image of a request, or its URL. Its file is removed when the context ends.

        `options` has the names of the options that the body may have. Raises what `ImageReceiver.receive` raises.
        """
        async with self._receiver.receive(body, options) as received:
            yield received

    @asynccontextmanager
    async def receive_job(self, body: ImageBody, options: frozenset[str]) -> AsyncIterator[Received]:
        """Receive the images of a job, or their URLs. Their files are removed when the context ends.

        `options` has the names of the options that the body may have. Raises what `ImageReceiver.receive` raises.
        """
        async with self._receiver.receive(body, options, self._max_files) as received:
            yield received

    async def images(self, request: Request, received: Received) -> list[Image]:
        """Return the images of a request; download them if the request has their URLs.

        Call this before a place in the queue is taken, since a source may be slow. The downloads end if the caller
        disconnects. An image of several that cannot be downloaded has an `error`. If none can, the error of the first
        is raised: a SourceError, ImageTooLarge or a StateError. Also raises CallerGone.
        """
        if not received.urls:
            return received.images
        fetching = self._downloads.fetch(received.urls, received.folder, received.password)
        images = await cancel_on_disconnect(request, fetching)
        if images[0].error and all(image.error for image in images):
            raise images[0].error
        return images

    async def close(self) -> None:
        """Close the connections to the sources of images."""
        await self._downloads.aclose()

    def reserve(self) -> Place:
        """Reserve a job's place in the engine's queue. Raises EngineNotReady and EngineBusy."""
        return self._supervisor.reserve()

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

    async def recognise_all(
        self, images: list[Image], options: RecognitionOptions, place: Place, on_outcome: Callable[[], None]
    ) -> list[ImageOutcome]:
        """Recognise the images of a job, each in its own turn in the queue. Call `on_outcome` after each image.

        Raises the first image's error if no image could be recognised.
        """
        outcomes: list[ImageOutcome] = []
        deaths: list[ServiceError] = []
        for image in images:
            outcome = await self._outcome(image, options, place, deaths)
            if isinstance(outcome.error, EngineDied | EngineTimedOut):
                deaths.append(outcome.error)
            outcomes.append(outcome)
            on_outcome()
        if outcomes[0].error and all(outcome.error for outcome in outcomes):
            raise outcomes[0].error
        return outcomes

    async def _outcome(
        self, image: Image, options: RecognitionOptions, place: Place, deaths: list[ServiceError]
    ) -> ImageOutcome:
        """Return the outcome of one image. It is not tried if the job's images have ended too many engine processes."""
        try:
            if image.error:
                raise image.error
            if len(deaths) >= MAX_DEATHS_OF_ONE_REQUEST:
                raise deaths[-1]
            return ImageOutcome(image.name, await self.recognise(image, options, place), None)
        except ServiceError as exc:
            return ImageOutcome(image.name, None, exc)


RecognitionServiceDep = Annotated[RecognitionService, part("recognition_service")]
