"""Work on texts with a processor of AsposeAI: choose the model, check the texts, run them."""

from dataclasses import dataclass
from typing import Annotated, Any

from app.api.engine.model_choice import ModelChoice
from app.api.http.deps import part
from app.api.http.request_errors import TextTooLong
from app.engine.contract.processors import MAX_TEXT_BYTES, Processor, is_beyond_spell_check
from app.engine.queue import Place
from app.engine.text_runner import TextOutcome, TextRunner, TextTask


@dataclass(frozen=True, slots=True)
class TextLimits:
    """How long a text may be, and how long the engine may work on one text."""

    max_bytes: int
    """How many bytes a text may have: so many fit AsposeAI's context even if each byte is a token."""
    call_seconds: float
    """How long the engine may work on one text, in seconds."""

    def check(self, task: TextTask, texts: list[str]) -> None:
        """Raise TextTooLong for the first text that is too long."""
        # The model gets the parameters, such as keywords or a question, in the same context as the text.
        given = [part for value in task.parameters.values() for part in ([value] if isinstance(value, str) else value)]
        given_bytes = sum(len(part.encode()) for part in given)
        for index, text in enumerate(texts):
            size_bytes = len(text.encode())
            if size_bytes > MAX_TEXT_BYTES:
                raise TextTooLong(index, size_bytes, MAX_TEXT_BYTES, "The content")
            # In a spell check, AsposeAI gives the text to the model line by line. It ends lines at a line feed only.
            if task.load.processor is Processor.SPELL_CHECK:
                size_bytes = max(
                    (len(line.encode()) for line in text.split("\n") if not is_beyond_spell_check(line)), default=0
                )
                what = "A line"
            else:
                what = "The content, with the parameters,"
            if given_bytes + size_bytes > self.max_bytes:
                raise TextTooLong(index, given_bytes + size_bytes, self.max_bytes, what)


class TextService:
    """Works on the texts of one request or job."""

    def __init__(self, choice: ModelChoice, runner: TextRunner, limits: TextLimits) -> None:
        self._choice = choice
        self._runner = runner
        self._limits = limits

    async def prepare(self, processor: Processor, parameters: dict[str, Any], texts: list[str]) -> TextTask:
        """Choose the model, check the texts, return the task. Raises TextTooLong and what `ModelChoice.choose` does."""
        task = TextTask(await self._choice.choose(processor), parameters)
        self._limits.check(task, texts)
        return task

    def place_for_unit(self) -> Place:
        """Return the place of a unit of a job in the engine's queue."""
        return self._runner.place_for_unit()

    async def run(
        self,
        task: TextTask,
        texts: list[str],
        *,
        seconds: float | None = None,
        place: Place | None = None,
    ) -> list[TextOutcome]:
        """Process the texts and return an outcome for each, in order.

        `place` is the place of a unit of a job in the engine's queue; None for a request. `seconds` can shorten the
        time limit of one text, not extend it. Raises the first text's error if no text has an answer.
        """
        seconds = min(seconds or self._limits.call_seconds, self._limits.call_seconds)
        outcomes = await self._runner.run(task, texts, seconds=seconds, place=place)
        if outcomes[0].error and all(outcome.error for outcome in outcomes):
            raise outcomes[0].error
        return outcomes


TextServiceDep = Annotated[TextService, part("text_service")]
