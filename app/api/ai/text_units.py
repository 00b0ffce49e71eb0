"""The work on one text of a text job."""

from contextlib import suppress
from typing import Any

from anyio import to_thread
from pydantic import BaseModel, ConfigDict, ValidationError

from app.api.ai.schemas import KeywordsIn, QueryIn, SpellCheckIn, TextJobResultOut, TextsIn, describe_one, failed_text
from app.api.ai.service import TextService
from app.api.http.problems import problem_of
from app.api.http.request_errors import TextTooLong
from app.api.jobs.unit_problems import NOT_NOW, context_of
from app.engine.contract.processors import Processor
from app.engine.states import MAX_DEATHS_OF_ONE_UNIT
from app.engine.text_runner import TextOutcome
from app.errors import EngineDied, EngineOutOfMemory, ServiceError
from app.jobs.units.lanes import Place
from app.jobs.units.records import failure_of
from app.jobs.units.unit_claims import Claim, Outcome
from app.jobs.units.unit_work import NotNow, PlainRun, UnitRun, UnitWork

BODIES: dict[Processor, type[TextsIn]] = {
    Processor.SPELL_CHECK: SpellCheckIn,
    Processor.KEYWORDS: KeywordsIn,
    Processor.QUERY: QueryIn,
}
"""The request of each processor."""


class TextParameters(BaseModel):
    """What a text job does with each of its texts."""

    model_config = ConfigDict(extra="forbid")

    processor: Processor
    body: dict[str, Any]
    """The request without its texts."""

    def request_for(self, text: str) -> TextsIn:
        """Return the request for one text. Raises ValidationError."""
        return BODIES[self.processor].model_validate(self.body | {"texts": [text]})


class TextUnits(UnitWork):
    """Processes the texts of jobs."""

    processors = tuple(BODIES)

    def __init__(self, service: TextService) -> None:
        self._service = service

    def understands(self, parameters: dict[str, Any]) -> bool:
        """Return False if the parameters are those of a newer version."""
        with suppress(ValidationError):
            TextParameters.model_validate(parameters).request_for("")
            return True
        return False

    def begin(self, claim: Claim, place: Place) -> UnitRun:  # noqa: ARG002 - it does not pause
        """Return a new run of the work on a unit."""
        return PlainRun(self._run, claim)

    async def _run(self, claim: Claim) -> Outcome:
        """Process a text. A text that ends the engine process is tried once more; then it has failed."""
        parameters = TextParameters.model_validate(claim.task.parameters)
        body = parameters.request_for(claim.unit.text or "")
        deaths = 0
        while True:
            try:
                task = await self._service.prepare(parameters.processor, body.parameters(), body.texts)
                place = self._service.place_for_unit()
                (outcome,) = await self._service.run(task, body.texts, seconds=body.timeout_seconds, place=place)
                return await to_thread.run_sync(self._outcome, claim, body, outcome)
            except NOT_NOW as exc:
                raise NotNow(str(exc)) from exc
            except EngineDied as exc:
                deaths += not exc.was_ordered
                if deaths >= MAX_DEATHS_OF_ONE_UNIT or isinstance(exc, EngineOutOfMemory):
                    return self.failed(claim, exc)
            except (ServiceError, TextTooLong) as exc:
                return self.failed(claim, exc)

    def failed(self, claim: Claim, error: Exception) -> Outcome:
        """Return the outcome of a text with a problem."""
        result = failed_text(claim.number, problem_of(error, context_of(claim)))
        return Outcome(result.model_dump_json(), failure_of(error))

    def _outcome(self, claim: Claim, body: TextsIn, outcome: TextOutcome) -> Outcome:
        found = describe_one(body, body.texts[0], outcome, context_of(claim))
        return Outcome(TextJobResultOut(index=claim.number, **found.model_dump()).model_dump_json())
