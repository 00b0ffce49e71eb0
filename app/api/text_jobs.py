"""Texts as jobs: work of minutes, which goes on when its caller has left, and is followed and cancelled as any job."""

import asyncio
from functools import partial

from anyio import to_thread
from fastapi import Request

from app import errors
from app.api.desk import Desk, describe
from app.api.schemas.ai import TextsIn
from app.engine.processors import Task
from app.engine.sessions import Outcome, Session
from app.store.jobs import HeldJob, Jobs
from app.store.jobs.progress import Meter
from app.store.jobs.records import Job
from app.store.journal import Origin

TEXTS = "texts"
"""The kind of these jobs. They end with the process that runs them: texts are not kept."""
LOOK_SECONDS = 0.25
"""How often progress is written, and how soon the wish to cancel is heard."""


class TextJobs:
    """Runs them, each in its turn before the engine like any request. The results lie in a file beside the record."""

    def __init__(self, jobs: Jobs, desk: Desk, session: Session) -> None:
        self._jobs = jobs
        self._desk = desk
        self._session = session
        self._running: set[asyncio.Task[None]] = set()

    async def begin(self, request: Request, task: Task, body: TextsIn, origin: Origin) -> Job:
        """A job for a task. Raises EngineNotReady, EngineBusy, StoreUnavailable, StoreReadOnly, StoreFull."""
        self._session.insist_on_room()
        asked = {"processor": task.wanted.processor, "model": task.wanted.model, "texts": len(body.texts)}
        held = await to_thread.run_sync(self._jobs.begin, TEXTS, asked, origin)
        path, request_id = request.url.path, str(request.scope["request_id"])
        running = asyncio.create_task(self._run(held, task, body, path, request_id))
        self._running.add(running)
        running.add_done_callback(self._running.discard)
        return held.job

    async def close(self) -> None:
        """End what still runs; its records say so."""
        running = set(self._running)
        for task in running:
            task.cancel()
        if running:
            await asyncio.wait(running)

    async def _run(self, held: HeldJob, task: Task, body: TextsIn, path: str, request_id: str) -> None:
        outcomes: list[Outcome] = []
        seconds = self._desk.seconds_for(body)
        with held:
            work = self._session.run(task, body.texts, seconds=seconds, on_outcome=outcomes.append)
            working = asyncio.create_task(work)
            try:
                if await self._is_cancelled(held, working, outcomes, len(body.texts)):
                    working.cancel()
                    await asyncio.wait({working})
                    await to_thread.run_sync(held.cancel)
                    return
                answer = await to_thread.run_sync(describe, task, body, working.result(), path, request_id)
                await to_thread.run_sync(held.result_file.write_text, answer.model_dump_json())
                await to_thread.run_sync(held.succeed, {"failed_count": answer.failed_count})
            except asyncio.CancelledError:
                held.fail(errors.JobAbandoned(TEXTS, held.job.owner))
                raise
            except errors.ServiceError as exc:
                await to_thread.run_sync(held.fail, exc)
            finally:
                working.cancel()
                await asyncio.wait({working})

    async def _is_cancelled(
        self, held: HeldJob, working: asyncio.Task[list[Outcome]], outcomes: list[Outcome], total: int
    ) -> bool:
        """Write how far it is until it is done; whether somebody cancelled it meanwhile."""
        meter, done = Meter("items"), -1
        while not working.done():
            if len(outcomes) != done:
                done = len(outcomes)
                phase = "working" if done else "waiting"
                progress = meter.at(done, total)
                await to_thread.run_sync(partial(held.update, phase=phase, progress=progress))
            await asyncio.wait({working}, timeout=LOOK_SECONDS)
            if await to_thread.run_sync(held.is_cancelled):
                return True
        return False
