"""Where images are taken in, given to the engine, and their text is given back."""

from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import Request

from app.api.http.deps import part
from app.api.http.disconnects import cancel_on_disconnect
from app.api.images.receiver import Image, ImageReceiver
from app.engine.contract.recognition import ImageLimits, RecognitionOptions
from app.engine.recognition import Recognition, recognise
from app.engine.supervisor import Supervisor
from app.errors import EngineLacks


class RecognitionService:
    """Reads images, one at a time, as the engine does."""

    def __init__(
        self, supervisor: Supervisor, receiver: ImageReceiver, limits: ImageLimits, *, max_files: int, seconds: float
    ) -> None:
        """`max_files` is how many a job may have, `seconds` how long the engine may take for one."""
        self._supervisor = supervisor
        self._receiver = receiver
        self._limits = limits
        self._max_files = max_files
        self._seconds = seconds

    @asynccontextmanager
    async def read(self, request: Request, wish: RecognitionOptions) -> AsyncIterator[Recognition]:
        """What the image of a request says; its document, where one is wished for, is there until the end.

        Raises what ImageIntake and `recognise` raise. What needs no body is refused before it is read.
        """
        self._insist("recognition", *(("ai",) if wish.tables else ()))
        async with self._receiver.images(request) as (image,):
            yield await cancel_on_disconnect(request, self._read(image, wish))

    @asynccontextmanager
    async def receive(self, request: Request) -> AsyncIterator[list[Image]]:
        """The images of a request for a job. Raises what `read` raises before it reads, and EngineBusy."""
        self._insist("recognition")
        async with self._receiver.images(request, self._max_files) as images:
            self._supervisor.require_queue_space()  # others may have come meanwhile
            yield images

    async def read_one_of(self, image: Image, wish: RecognitionOptions) -> Recognition:
        """Read one of a job's images, in the job's next turn. Raises what `recognise` raises, but never EngineBusy."""
        if image.refusal:
            raise image.refusal
        return await self._read(image, wish, bypass_limit=True)

    def _read(
        self, image: Image, wish: RecognitionOptions, *, bypass_limit: bool = False
    ) -> Coroutine[Any, Any, Recognition]:
        engine, seconds = self._supervisor, self._seconds
        return recognise(
            engine, image.path, image.media_type, wish, self._limits, seconds=seconds, bypass_limit=bypass_limit
        )

    def _insist(self, *capabilities: str) -> None:
        self._supervisor.require_queue_space()
        for capability in self._supervisor.facts.capabilities if self._supervisor.facts else ():
            if capability.name in capabilities and not capability.available:
                raise EngineLacks(capability.name, capability.reason or "")


RecognitionServiceDep = Annotated[RecognitionService, part("reader")]
