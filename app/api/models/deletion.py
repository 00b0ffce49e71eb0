"""Plans the deletion of a model that the engine may be using."""

from collections.abc import Iterable
from functools import partial

from anyio import to_thread

from app.api.http import threads
from app.engine.model_session import ModelSession
from app.engine.ocr_model_leases import OcrModelLeases
from app.engine.supervisor import Supervisor
from app.errors import ModelInUse
from app.store import Deletion, Deletions


class DeletionPlanner:
    """Plans deletions of models. If this service's engine uses the model, it may release the engine first."""

    def __init__(
        self, deletions: Deletions, supervisor: Supervisor, session: ModelSession, ocr_model_leases: OcrModelLeases
    ) -> None:
        self._deletions = deletions
        self._supervisor = supervisor
        self._session = session
        self._ocr_model_leases = ocr_model_leases

    async def plan(self, name: str, *, if_match: Iterable[str] | None, permanent: bool, may_release: bool) -> Deletion:
        """Plan the deletion of a model; release the engine first if it uses the model and `may_release` is true.

        Raises what `Deletions.plan` raises, and EngineNotReady.
        """
        plan = partial(self._deletions.plan, name, if_match=if_match, permanent=permanent)
        try:
            return await to_thread.run_sync(plan, limiter=threads.changes)
        except ModelInUse:
            # `plan` checks leases last. So only the lease prevents the deletion, and releasing the engine is not in
            # vain.
            if not may_release or not (self._session.is_using(name) or self._ocr_model_leases.is_using(name)):
                raise
        await self._supervisor.release(f"released to delete {name}")
        # This plan succeeds unless other processes use the model too: the engine's lease has ended, because `release`
        # returns after the callback that `ModelSession` registered for the end of the engine's process.
        return await to_thread.run_sync(plan, limiter=threads.changes)
