"""Caches the answers to `GET /models` until something changes: there are thousands of polls for each change."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Annotated

from anyio import CapacityLimiter, to_thread

from app.api.http.conditional import Representation
from app.api.http.deps import part
from app.api.models.list_query import ListQuery
from app.api.models.list_renderer import QUICK_MODELS, ListRenderer
from app.api.models.model_view import ModelView, Sources
from app.api.models.schemas import ModelOut
from app.engine.supervisor import Supervisor
from app.store import Model, Store
from app.store.inventory_watcher import InventoryWatcher

KEPT_BYTES = 8 << 20
"""The largest total size of the cached answers to queries. The whole list is cached in addition, at any size."""
WHOLE = b""
"""The query string that requests the whole list."""


@dataclass(slots=True)
class _Lane:
    """Renders one answer at a time, for all requests that wait for it."""

    thread: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    """One thread for rendering only, because a disk that does not answer may block all shared threads."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: int = 0
    """How many requests wait for the lock, or hold it."""
    last: tuple[bytes, float, Representation] | None = None
    """The last answer, its query string, and the time at which its rendering began; None if no request waits."""


class ListCache:
    """Holds the current list and a cache of its answers, keyed by query string."""

    def __init__(self, store: Store, watcher: InventoryWatcher, supervisor: Supervisor) -> None:
        self._store = store
        self._watcher = watcher
        self._supervisor = supervisor
        self._pages, self._long_lists = _Lane(), _Lane()
        """A page does not wait for a list of 100,000 models, whose rendering takes a second."""
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
        is_page = query.limit is not None and query.limit <= QUICK_MODELS
        return await self._render(query_string, query, self._pages if is_page else self._long_lists)

    async def _render(self, query_string: bytes, query: ListQuery, lane: _Lane) -> Representation:
        arrived = time.monotonic()
        lane.waiting += 1
        try:
            async with lane.lock:
                # While this request waited for the lock, another request may have rendered the same query. If the list
                # changes all the time, that answer is outdated again, but its rendering began after this request came.
                # Without reusing that answer, the waiting requests would render one list each, one after another.
                if answer := self.ready(query_string):
                    return answer
                if lane.last and lane.last[0] == query_string and lane.last[1] >= arrived:
                    return lane.last[2]
                began, renderer = time.monotonic(), self._current()
                answer = await to_thread.run_sync(lambda: Representation(renderer.render(query)), limiter=lane.thread)
                lane.last = query_string, began, answer
                return self._keep(query_string, answer, renderer)
        finally:
            lane.waiting -= 1
            if not lane.waiting:
                lane.last = None

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
