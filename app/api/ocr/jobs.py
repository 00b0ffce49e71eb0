"""Images as a job: each is read in a turn of its own, and has a result or a problem of its own."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from typing import Any

from fastapi import Request

from app import errors
from app.api.http.problem_table import PROBLEM_TYPES
from app.api.images.receiver import Image
from app.api.images.service import RecognitionService
from app.api.ocr.schemas import FileOut, RecognitionsOut, describe
from app.engine.contract.recognition import RecognitionOptions
from app.jobs.batches import Batch

IMAGES, JOBS = "images", "/ocr/jobs"
"""The kind of these jobs, and where they are."""
MAX_DEATHS = 3
"""After so many engine processes that died of the images of one job, the rest of them is not tried."""


def work_on(
    images: list[Image],
    wish: RecognitionOptions,
    reader: RecognitionService,
    request: Request,
    asked: dict[str, Any],
    holding: AsyncExitStack,
) -> Batch:
    """The job of reading these images, which lie where `holding` keeps them."""
    path, request_id = request.url.path, str(request.scope["request_id"])

    async def run(on_done: Callable[[], None]) -> RecognitionsOut:
        files: list[FileOut] = []
        failures: list[errors.ServiceError] = []
        for image in images:
            try:
                _insist_on_life(failures)
                recognition = await reader.read_one_of(image, wish)
                files.append(FileOut(name=image.name, recognition=describe(recognition, wish), error=None))
            except errors.ServiceError as exc:
                failures.append(exc)
                problem = PROBLEM_TYPES[type(exc)].describe(exc, path, request_id)
                files.append(FileOut(name=image.name, recognition=None, error=problem))
            on_done()
        if len(failures) == len(images):
            raise failures[0]
        return RecognitionsOut(failed_count=len(failures), results=files)

    return Batch(IMAGES, asked | {"files": len(images)}, len(images), run, holding)


def _insist_on_life(failures: list[errors.ServiceError]) -> None:
    """Raise the last of the deaths, once there are too many."""
    deaths = [failure for failure in failures if isinstance(failure, errors.EngineDied | errors.EngineTimedOut)]
    if len(deaths) >= MAX_DEATHS:
        raise deaths[-1]
