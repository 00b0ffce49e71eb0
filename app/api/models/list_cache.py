"""Caches the answers to `GET /models` until something changes: there are thousands of polls for each change."""

import asyncio
from typing import Annotated

from anyio import CapacityLimiter, to_thread

from app.api.http.conditional import Representation
from app.api.http.deps import part
from app.api.models.list_query import ListQuery
from app.api.models.list_renderer import ListRenderer
from app.api.models.model_view import ModelView, Sources
from app.api.models.schemas import ModelOut
from app.engine.supervisor import Supervisor
from app.store import Model, Store
from app.store.inventory_watcher import InventoryWatcher

KEPT_BYTES = 8 << 20
"""The largest total size of the cached answers to queries. The whole list is cached in addition, at any size."""
WHOLE = b""
"""The query string that requests the whole list."""


class ListCache:
    """Holds the current list and a cache of its answers, keyed by query string."""

    def __init__(self, store: Store, watcher: InventoryWatcher, supervisor: Supervisor) -> None:
        self._store = store
        self._watcher = watcher
        self._supervisor = supervisor
        self._working = asyncio.Lock()
        self._thread = CapacityLimiter(1)
        """One thread for rendering only, because a disk that does not answer may block all shared threads."""
        self._renderer: ListRenderer | None = None
        self._whole: Representation | None = None
        self._answers: dict[bytes, Representation] = {}
        self._kept_bytes = 0

    def ready(self, query_string: bytes) -> Representation | None:
        """Return the answer if it is cached and up to date, else None."""
        if not self._is_fresh():
            return None
        return self._whole if query_string == WHOLE else self._answers.get(query_string)

    async def answer(self, query_string: bytes, query: ListQuery) -> Representation:
        """Return the up-to-date answer to a query; render it if it is not cached. Raises StoreUnavailable."""
        await self._watcher.current_when_scanned()
        renderer = self._current()
        if renderer.is_quick(query):
            return self._keep(query_string, Representation(renderer.render(query)), renderer)
        async with self._working:
            # Another request may have rendered this answer while this one waited for the lock.
            if answer := self.ready(query_string):
                return answer
            renderer = self._current()
            answer = await to_thread.run_sync(lambda: Representation(renderer.render(query)), limiter=self._thread)
            return self._keep(query_string, answer, renderer)

    def describe(self, model: Model) -> ModelOut:
        """Return the list's entry for one model, with its up-to-date facts."""
        return self._view().describe(model)

    def _view(self) -> ModelView:
        return ModelView(self._store.root, self._store.policy, self._sources())

    def _sources(self) -> Sources:
        return Sources(self._watcher.protected, self._watcher.leased_positions, self._supervisor.facts)

    def _current(self) -> ListRenderer:
        """Return the renderer of the current list. Creating a renderer is cheap: it sorts and renders on demand."""
        if self._renderer is None or not self._is_fresh():
            self._renderer = ListRenderer(self._watcher.current(), self._view(), self._renderer)
            self._whole, self._answers, self._kept_bytes = None, {}, 0
        return self._renderer

    def _is_fresh(self) -> bool:
        renderer = self._renderer
        return (
            renderer is not None
            and renderer.inventory is self._watcher.inventory
            and renderer.view.sources.equal(self._sources())
        )

    def _keep(self, query_string: bytes, answer: Representation, renderer: ListRenderer) -> Representation:
        if renderer is self._renderer:
            if query_string == WHOLE:
                self._whole = answer
                return answer
            self._kept_bytes += len(query_string) + answer.size
            if self._kept_bytes > KEPT_BYTES:
                self._answers, self._kept_bytes = {}, len(query_string) + answer.size
            self._answers[query_string] = answer
        return answer


ListCacheDep = Annotated[ListCache, part("list_cache")]
