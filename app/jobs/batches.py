"""Batches: work on items, one after another, with a result for each item."""

from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from typing import Any, Protocol

from anyio import to_thread

from app.jobs.runner import Work, cancelled_once
from app.store import explaining_refusals

BATCH_PHASES = ("waiting", "working")
BATCH_RESULT = "`failed_count`, the number of items that failed"
"""The members of a batch's result, as the API's descriptions name them."""


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
        holding: AsyncExitStack | None = None,
    ) -> None:
        """`process` calls its argument after each of the `total` items. It raises ServiceError if every item failed.

        `holding` has the resources that `process` needs; they are released before the job's outcome is written.
        """
        self.phase = "waiting"
        self.total = total
        self._process = process
        self._holding = holding or AsyncExitStack()

    async def run(self) -> dict[str, Any]:
        """Process the items, and return how many failed."""
        results = await cancelled_once(self._process(self._on_done))
        await to_thread.run_sync(self._write, results)
        return {"failed_count": results.failed_count}

    async def release(self) -> None:
        """Release the resources in `holding`."""
        await self._holding.aclose()

    def _on_done(self) -> None:
        self.phase = "working"
        self.done += 1

    def _write(self, results: Results) -> None:
        with explaining_refusals():
            self.result_file.write_text(results.model_dump_json())
