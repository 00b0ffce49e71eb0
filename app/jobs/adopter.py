"""Runs the resumable jobs of one kind: new jobs, and jobs whose runner died, in this or another service."""

from collections import Counter
from collections.abc import Awaitable, Callable

from anyio import to_thread
from anyio.abc import TaskGroup

from app.errors import StoreError
from app.jobs.folder import Jobs
from app.jobs.held_job import HeldJob
from app.jobs.poll_loop import PollLoop
from app.jobs.records import Job
from app.jobs.slots import Slot, Slots

MOST_WAITING = 32
"""How many jobs that this service has taken may wait for a slot. It leaves further jobs to other services."""


class JobAdopter:
    """Takes the jobs of a kind that no process holds, and runs up to `at_once` of them at the same time."""

    def __init__(
        self,
        jobs: Jobs,
        kind: str,
        run_held: Callable[[HeldJob], Awaitable[object]],
        *,
        at_once: int,
        accepts: Callable[[Job], bool] = lambda _: True,
        group_of: Callable[[Job], str] = lambda _: "",
        on_defect: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """`accepts` returns False for a job that a newer service created and this service does not understand.

        `group_of` returns a job's group, such as the host of a pull. The adopter takes the oldest waiting job of the
        group with the fewest unfinished jobs in this service.

        `on_defect` receives each error that is neither a StoreError nor an OSError. The adopter continues with other
        jobs.
        """
        self._jobs = jobs
        self._kind = kind
        self._run_held = run_held
        self._accepts = accepts
        self._on_defect = on_defect
        self._left: set[str] = set()
        """The ids of jobs whose run raised an unexpected error in this service. The adopter leaves these jobs to other
        services, or to the next start."""
        self._group_of = group_of
        self._groups = Counter[str]()
        self._slots = Slots(at_once, self.wake)
        self._most = at_once + MOST_WAITING
        self._loop = PollLoop(self._take_some)

    async def run(self) -> None:
        """Take jobs and run them until `stop` is called. May be called again after an exception."""
        await self._loop.run()

    def wake(self) -> None:
        """Look for jobs now."""
        self._loop.wake()

    def stop(self) -> None:
        """Interrupt the running jobs and leave them unfinished, so that any service on the folder can continue them."""
        self._loop.stop()

    async def _take_some(self, tasks: TaskGroup) -> None:
        # If the model folder is missing, there are no jobs to take; requests for models report the reason.
        try:
            await self._take_while_free(tasks)
        except (StoreError, OSError):
            pass
        except Exception as exc:  # noqa: BLE001 - jobs are taken again at the next poll
            self._on_defect(exc)
        self._slots.serve()

    async def _take_while_free(self, tasks: TaskGroup) -> None:
        unheld = await to_thread.run_sync(self._jobs.unheld, self._kind)
        jobs = [job for job in unheld if job.id not in self._left and self._accepts(job)]
        while jobs and self._groups.total() < self._most and (slot := self._slots.take()):
            held = None
            try:
                job = min(jobs, key=lambda job: self._groups[self._group_of(job)])  # `jobs` has the oldest first
                jobs.remove(job)
                held = await to_thread.run_sync(self._jobs.take, job.id)
            finally:
                if held is None:
                    slot.release(is_quiet=True)
            if held:
                held.slot = slot
                group = self._group_of(job)
                self._groups[group] += 1
                tasks.start_soon(self._run_one, held, slot, group)

    async def _run_one(self, held: HeldJob, slot: Slot, group: str) -> None:
        try:
            with held:
                await self._run_held(held)
        except Exception as exc:  # noqa: BLE001 - one job must not stop the others
            self._left.add(held.job.id)
            self._on_defect(exc)
        finally:
            self._groups[group] -= 1
            # A job whose outcome could not be written, as on a full disk, is retried only at the next poll.
            slot.release(is_quiet=not held.job.is_finished)
