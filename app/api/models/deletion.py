"""Plans the deletion of a model that the engine may be using."""

from collections.abc import Iterable
from functools import partial

from anyio import to_thread

from app.api.http import threads
from app.engine.model_session import ModelSession
from app.engine.supervisor import Supervisor
from app.errors import ModelInUse
from app.store import Deletion, Deletions


class DeletionPlanner:
    """Plans deletions of one service's models, and releases its engine where that is what keeps a model."""

    def __init__(self, deletions: Deletions, supervisor: Supervisor, session: ModelSession) -> None:
        self._deletions = deletions
        self._supervisor = supervisor
        self._session = session

    async def plan(self, name: str, *, if_match: Iterable[str] | None, permanent: bool, may_release: bool) -> Deletion:
        """Plan the deletion of a model, releasing the engine first if that uses the model and `may_release`.

        Raises what `Deletions.plan` raises, and EngineNotReady.
        """
        plan = partial(self._deletions.plan, name, if_match=if_match, permanent=permanent)
        try:
            return await to_thread.run_sync(plan, limiter=threads.changes)
        except ModelInUse:
            # The plan checks leases last. So nothing else forbids the deletion, and the engine is not released in vain.
            if not may_release or not self._session.is_using(name):
                raise
        await self._supervisor.release(f"released to delete {name}")
        # This plan succeeds, unless others use the model too: the engine's lease ends with its process, in a callback
        # that `ModelSession` registered at the process when it loaded the model, before `release` returned.
        return await to_thread.run_sync(plan, limiter=threads.changes)
