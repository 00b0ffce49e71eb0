"""The answers to `GET /models`, each made once for each change: pollers outnumber changes by thousands."""

import asyncio
from typing import Annotated

from anyio import CapacityLimiter, to_thread

from app.api.http.conditional import Representation
from app.api.http.deps import part
from app.api.models.list_query import ListQuery
from app.api.models.list_renderer import ListRenderer
from app.api.models.model_view import ModelView
from app.api.models.schemas import ModelOut
from app.engine.supervisor import Supervisor
from app.store.inventory import Model
from app.store.inventory_watcher import InventoryWatcher
from app.store.store import Store

KEPT_BYTES = 8 << 20
"""How much is kept of answers to particular questions; the whole list is kept beside them, however large it is."""
WHOLE = b""
"""The query string that asks for it."""


class ListCache:
    """Knows the present catalogue, and the answers made of it by the query strings that they are for."""

    def __init__(self, store: Store, watcher: InventoryWatcher, supervisor: Supervisor) -> None:
        self._store = store
        self._watcher = watcher
        self._supervisor = supervisor
        self._working = asyncio.Lock()
        self._thread = CapacityLimiter(1)
        """Of its own: a disk that does not answer may hold all that others share."""
        self._catalogue: ListRenderer | None = None
        self._whole: Representation | None = None
        self._answers: dict[bytes, Representation] = {}
        self._kept_bytes = 0

    def ready(self, query_string: bytes) -> Representation | None:
        """The answer as of now, if it was made before."""
        if not self._is_fresh():
            return None
        return self._whole if query_string == WHOLE else self._answers.get(query_string)

    async def answer(self, query_string: bytes, query: ListQuery) -> Representation:
        """The answer as of now. Raises StoreUnavailable."""
        await self._watcher.current_when_scanned()
        catalogue = self._present()
        if catalogue.is_quick(query):
            return self._keep(query_string, Representation(catalogue.render(query)), catalogue)
        async with self._working:
            # Whoever waited here may find that another made it meanwhile.
            if answer := self.ready(query_string):
                return answer
            catalogue = self._present()
            answer = await to_thread.run_sync(lambda: Representation(catalogue.render(query)), limiter=self._thread)
            return self._keep(query_string, answer, catalogue)

    def describe(self, model: Model) -> ModelOut:
        """One model as callers see it."""
        return self._view().describe(model)

    def _view(self) -> ModelView:
        store = self._store
        watcher = self._watcher
        return ModelView(store.root, store.policy, watcher.protected, watcher.leased_positions, self._supervisor.facts)

    def _present(self) -> ListRenderer:
        """The catalogue as of now; a new one costs nothing until something is asked of it."""
        if self._catalogue is None or not self._is_fresh():
            self._catalogue = ListRenderer(self._watcher.current(), self._view(), self._catalogue)
            self._whole, self._answers, self._kept_bytes = None, {}, 0
        return self._catalogue

    def _is_fresh(self) -> bool:
        catalogue = self._catalogue
        return (
            catalogue is not None
            and catalogue.inventory is self._watcher.inventory
            and catalogue.view.leased_positions == self._watcher.leased_positions
            and catalogue.view.protected is self._watcher.protected
            and catalogue.view.facts is self._supervisor.facts
        )

    def _keep(self, query_string: bytes, answer: Representation, catalogue: ListRenderer) -> Representation:
        if catalogue is self._catalogue:
            if query_string == WHOLE:
                self._whole = answer
                return answer
            self._kept_bytes += len(query_string) + answer.size
            if self._kept_bytes > KEPT_BYTES:
                self._answers, self._kept_bytes = {}, len(query_string) + answer.size
            self._answers[query_string] = answer
        return answer


ListCacheDep = Annotated[ListCache, part("list_cache")]
