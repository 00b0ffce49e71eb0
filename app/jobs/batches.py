"""Batches: work on items, one after another, with a result for each item."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from enum import StrEnum
from functools import partial
from typing import Any, Protocol

from anyio import to_thread

from app.errors import ServiceError
from app.jobs.recording import until_written
from app.jobs.runner import Work, cancelled_once

BATCH_PHASES = ("waiting", "working")
BATCH_RESULT = "`failed_count`, the number of items that failed"
"""What the result of a batch has: a phrase for the API's descriptions."""


class BatchKind(StrEnum):
    """The kinds of job whose work is a batch."""

    TEXTS = "texts"
    IMAGES = "images"


class Results(Protocol):
    """The results of a batch, one for each item: a pydantic schema of the API."""

    failed_count: int

    def model_dump_json(self) -> str:
        """Return the results as they are sent to a client."""


class Batch(Work):
    """Processes items one after another, counts them, and writes their results to the job's result file."""

    def __init__(
        self,
        total: int,
        process: Callable[[Callable[[], None]], Coroutine[Any, Any, Results]],
        is_begun: Callable[[], bool] = lambda: True,
        holding: AsyncExitStack | None = None,
    ) -> None:
        """`process` works on the `total` items, and calls its argument after each item.

        It raises ServiceError if every item failed. `is_begun` returns False while the batch waits for its first turn.
        `holding` has the resources that `process` needs; they are released before the results are written.
        """
        self.total = total
        self._process = process
        self._is_begun = is_begun
        self._holding = holding or AsyncExitStack()
        self.results: Results | None = None
        """The results, once they are written."""
        self.error: ServiceError | None = None
        """Why every item failed."""

    @property
    def is_waiting(self) -> bool:
        """True until the first item has begun or is done."""
        return self.done == 0 and not self._is_begun()

    async def run(self) -> dict[str, Any]:
        """Process the items, and return how many failed."""
        try:
            results = await cancelled_once(self._process(self._on_done))
        except ServiceError as exc:
            self.error = exc
            raise
        await self.release()  # before the results are written, which may take long if the model folder is away
        text = await to_thread.run_sync(results.model_dump_json)
        await until_written(partial(self.write_result, text))
        self.results = results
        return {"failed_count": results.failed_count}

    async def release(self) -> None:
        """Release the resources in `holding`."""
        await self._holding.aclose()

    def _on_done(self) -> None:
        self.done += 1
