"""The work on one file of a recognition job."""

from contextlib import suppress
from typing import Any

from anyio import to_thread
from pydantic import ValidationError

from app.api.http.problems import problem_of
from app.api.images.service import RecognitionService
from app.api.jobs.unit_problems import NOT_NOW, context_of
from app.api.ocr.reading_query import ReadingQuery
from app.api.ocr.schemas import FileResultOut, describe, failed_file
from app.engine.recognition import Recognition
from app.engine.states import MAX_DEATHS_OF_ONE_UNIT
from app.errors import EngineDied, EngineOutOfMemory, ServiceError, UnitDamaged, UnreadableImage
from app.jobs.units.lanes import Place
from app.jobs.units.records import failure_of
from app.jobs.units.unit_claims import Claim, Outcome
from app.jobs.units.unit_work import NotNow, PlainRun, UnitRun, UnitWork
from app.store.records.forms import RecordDamaged


class ImageUnits(UnitWork):
    """Recognises the files of jobs."""

    def __init__(self, service: RecognitionService) -> None:
        self._service = service

    def understands(self, parameters: dict[str, Any]) -> bool:
        """Return False if the options are those of a newer version."""
        with suppress(ValidationError):
            ReadingQuery.model_validate(parameters)
            return True
        return False

    def begin(self, claim: Claim, place: Place) -> UnitRun:  # noqa: ARG002 - it does not pause
        """Return a new run of the work on a unit."""
        return PlainRun(self._run, claim)

    async def _run(self, claim: Claim) -> Outcome:
        """Recognise a file. A file that ends the engine process is tried once more; then it has failed."""
        query = ReadingQuery.model_validate(claim.task.parameters)
        if claim.unit.unreadable is not None:
            return self.failed(claim, UnreadableImage(claim.unit.unreadable))
        try:
            recognition = await self._recognise(claim, query)
        except NOT_NOW as exc:
            raise NotNow(str(exc)) from exc
        except FileNotFoundError:
            return self.failed(claim, UnitDamaged("its file is missing"))
        except RecordDamaged as exc:
            return self.failed(claim, UnitDamaged(str(exc)))
        except ServiceError as exc:
            return self.failed(claim, exc)
        return await to_thread.run_sync(self._succeeded, claim, recognition, query)

    async def _recognise(self, claim: Claim, query: ReadingQuery) -> Recognition:
        async with self._service.folder_for_unit() as folder:
            image = await self._service.image_of_unit(claim, folder)
            deaths = 0
            while True:
                try:
                    place = self._service.place_for_unit()
                    return await self._service.recognise(image, query.to_options(None), place)
                except EngineDied as exc:
                    deaths += not exc.was_ordered
                    if deaths >= MAX_DEATHS_OF_ONE_UNIT or isinstance(exc, EngineOutOfMemory):
                        raise

    def failed(self, claim: Claim, error: Exception) -> Outcome:
        """Return the outcome of a file with a problem."""
        result = failed_file(claim.number, claim.unit.name, problem_of(error, context_of(claim)))
        return Outcome(result.model_dump_json(), failure_of(error))

    def _succeeded(self, claim: Claim, recognition: Recognition, query: ReadingQuery) -> Outcome:
        found = describe(recognition, query.to_options(None))
        result = FileResultOut(index=claim.number, name=claim.unit.name, recognition=found, error=None)
        return Outcome(result.model_dump_json())
