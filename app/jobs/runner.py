"""Runs one job of any kind: does its work, writes its progress and its outcome, and cancels it on request."""

import asyncio
import contextlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Any, TypeVar

import anyio
from anyio import CancelScope, to_thread

from app.errors import JobAbandoned, ServiceError, StoreError, StoreUnavailable
from app.jobs.held_job import HeldJob
from app.jobs.progress import PROGRESS_INTERVAL_SECONDS, Meter, Unit
from app.jobs.recording import until_written
from app.jobs.records import JobState
from app.store.volume.refusals import REPLACED_ERRORS, refusal_of

T = TypeVar("T")


class Work(ABC):
    """The work of one job. Each kind of job is a subclass that defines `run`; the other members have defaults.

    While `run` runs, the runner writes the phase and the counts to the job's record.
    """

    unit: Unit = "items"
    phase: str = "working"
    """The current step of the work. The runner writes the step to the record once the work no longer waits."""
    done: int = 0
    total: int | None = None
    is_cancelled: bool = False
    """True if `run` is cancelled because the job was cancelled, and not because the service stops."""
    write_result: Callable[[str], None]
    """Writes a result that is too large for the job's record. `run_job` sets it before it calls `run`."""

    @property
    def is_waiting(self) -> bool:
        """True while the work waits for its turn: the job is queued, and its progress is not measured yet."""
        return False

    @abstractmethod
    async def run(self) -> dict[str, Any]:
        """Do the work and return the result for the job's record.

        A ServiceError fails the job. `run_job` cancels this coroutine when the job is cancelled or the service stops.
        The cancellation is that of an anyio scope:

        - It does not interrupt `to_thread.run_sync`, which waits until the thread has ended. A long function in a
          thread must call `anyio.from_thread.check_cancelled` between its steps.
        - It is raised again at each `await`. Code that awaits something while it cleans up, or that stops its thread
          by a flag in a `finally`, must be awaited through `cancelled_once`.
        """

    def finished_result(self) -> dict[str, Any] | None:
        """Return the result if all the work has been done; None if not, or if that is not known.

        Called in a thread when the job is cancelled. If the work was done before the cancellation, the job succeeds.
        """
        return None

    async def release(self) -> None:  # noqa: B027 - most kinds hold nothing
        """Release the resources that `run` needs.

        Called before the outcome is written, also if the job could not begin or was cancelled before `run` began.
        """

    def count(self) -> tuple[int, int | None]:
        """Return how many units are done, and how many there are in total; None for an unknown total."""
        return self.done, self.total

    def clean_up(self) -> None:  # noqa: B027 - most kinds have nothing to remove
        """Remove files that only an unfinished job needs. Called in a thread after the outcome has been written."""


async def run_job(held: HeldJob, work: Work, on_begun: Callable[[], None] = lambda: None) -> bool:
    """Run a job's work and write the outcome to its record. Return False if the job is left unfinished.

    Call `on_begun`, in a thread, when the work no longer waits. When the service stops or the store is unavailable, a
    resumable job is left for the next runner, and any other job fails. The outcome of a job that is not resumable is
    written as soon as the store is available again. Raises StoreError and OSError if the outcome cannot be written.
    """
    work.write_result = held.write_result
    report = _Reporter(held, work, on_begun).report
    try:
        finish = await _outcome_of(held, work, report)
    except asyncio.CancelledError:
        if not held.is_resumable:
            with CancelScope(shield=True):
                await to_thread.run_sync(held.fail, JobAbandoned(held.job.kind, held.job.owner))
        raise
    if finish is None:
        return False
    with CancelScope(shield=True):
        await to_thread.run_sync(report)
    await _write_outcome(held, finish)
    with CancelScope(shield=True):
        await to_thread.run_sync(work.clean_up)
    return True


async def _write_outcome(held: HeldJob, finish: Callable[[], None]) -> None:
    """Call `finish`, which writes a job's outcome.

    If the call fails, try again, but leave a resumable job for the next runner.
    """
    try:
        if not held.is_resumable:
            await until_written(finish)
            return
    except asyncio.CancelledError:  # the service stops: try once more
        with CancelScope(shield=True):
            await to_thread.run_sync(finish)
        raise
    with CancelScope(shield=True):
        await to_thread.run_sync(finish)


async def _outcome_of(held: HeldJob, work: Work, report: Callable[[], bool]) -> Callable[[], None] | None:
    """Run the work. Return a function that writes its outcome; None if the job is left for the next runner."""
    finish: Callable[[], None] | None = None

    async def follow() -> None:
        while not await to_thread.run_sync(report):  # noqa: ASYNC110 - another process writes the cancellation
            await anyio.sleep(PROGRESS_INTERVAL_SECONDS)
        work.is_cancelled = True
        tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(follow)
        try:
            finish = partial(held.succeed, await _run_and_release(work))
        except ServiceError as exc:
            # Without the store the outcome cannot be written either: the next runner continues once the store is back.
            is_left = isinstance(exc, StoreUnavailable) and held.is_resumable
            finish = None if is_left else partial(held.fail, exc)
        except OSError as exc:
            # A removed part of the store is made again, so that the next runner can continue.
            is_left = exc.errno in REPLACED_ERRORS and held.is_resumable
            finish = None if is_left else partial(held.fail, refusal_of(exc))
        tasks.cancel_scope.cancel()
    # Reached after `tasks.cancel_scope.cancel()`. A cancellation from outside raises above instead.
    if finish is None and work.is_cancelled:
        with CancelScope(shield=True):
            result = await to_thread.run_sync(work.finished_result)
        return held.cancel if result is None else partial(held.succeed, result)
    return finish


async def _run_and_release(work: Work) -> dict[str, Any]:
    try:
        return await work.run()
    finally:
        with CancelScope(shield=True):
            await work.release()


async def cancelled_once(coroutine: Coroutine[Any, Any, T]) -> T:
    """Await a coroutine, and cancel it only once, as asyncio does, so that its clean-up may contain an `await`.

    An anyio scope would cancel it again at each `await`. Unlike the cancellation of a scope, this one interrupts
    `to_thread.run_sync`. The thread continues then, so the coroutine has to tell the thread to end.
    """
    task = asyncio.create_task(coroutine)
    try:
        await asyncio.wait({task})
    finally:
        task.cancel()
        with CancelScope(shield=True):
            await asyncio.wait({task})
    return task.result()


class _Reporter:
    """Writes a job's phase and progress to its record, unless the store is unavailable."""

    def __init__(self, held: HeldJob, work: Work, on_begun: Callable[[], None]) -> None:
        self._held = held
        self._work = work
        self._on_begun = on_begun
        self._meter: Meter | None = None
        """Measures the rate. None while the work waits, so that the rate does not count the time of waiting."""

    def report(self) -> bool:
        """Write the phase and the progress if they have changed. Return True if the job is cancelled."""
        held, work = self._held, self._work
        if self._meter is None and not work.is_waiting:
            self._meter = Meter(work.unit)
            self._on_begun()
        with contextlib.suppress(StoreError, OSError):  # the next report may succeed
            if self._meter:
                phase, progress = work.phase, self._meter.at(*work.count())
                if held.job.state is JobState.QUEUED or (phase, progress) != (held.job.phase, held.job.progress):
                    held.update(phase=phase, progress=progress)
        with contextlib.suppress(OSError):
            return held.is_cancelled()
        return False
