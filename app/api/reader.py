"""Where images are taken in, given to the engine, and their text is given back."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import Request

from app.api.hangups import unless_gone
from app.api.images import ImageIntake
from app.engine.recognition import Limits, Recognition, Wish, recognise
from app.engine.supervisor import Supervisor
from app.errors import EngineLacks


class Reader:
    """Reads the images of requests, one at a time, as the engine does."""

    def __init__(self, supervisor: Supervisor, intake: ImageIntake, limits: Limits, *, seconds: float) -> None:
        """`seconds` is how long the engine may take for one."""
        self._supervisor = supervisor
        self._intake = intake
        self._limits = limits
        self._seconds = seconds

    @asynccontextmanager
    async def read(self, request: Request, wish: Wish) -> AsyncIterator[Recognition]:
        """What the image of a request says; its document, where one is wished for, is there until the end.

        Raises what ImageIntake and `recognise` raise. What needs no body is refused before it is read.
        """
        self._insist()
        async with self._intake.image(request) as image:
            call = recognise(self._supervisor, image.path, image.media_type, wish, self._limits, seconds=self._seconds)
            yield await unless_gone(request, call)

    def _insist(self) -> None:
        self._supervisor.insist_on_room()
        for capability in self._supervisor.facts.capabilities if self._supervisor.facts else ():
            if capability.name == "recognition" and not capability.available:
                raise EngineLacks(capability.name, capability.reason or "")
