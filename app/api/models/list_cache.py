"""Caches the answers to `GET /models` until a model changes: clients poll thousands of times for each change."""

import asyncio
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
"""The largest total size, in bytes, of the cached answers to queries. The whole list is cached in addition, at any
size."""
WHOLE = b""
"""The query string that requests the whole list."""


@dataclass(slots=True)
class _Lane:
    """Renders answers to `GET /models`, one at a time. All requests that wait for an answer share it."""

    thread: CapacityLimiter = field(default_factory=lambda: CapacityLimiter(1))
    """One thread for rendering only, because a disk that does not answer may block all shared threads."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    waiting: dict[bytes, asyncio.Task[Representation]] = field(default_factory=dict)
    """The renderings that have not begun, by query string. Requests that arrive until then share their answers."""


class ListCache:
    """Holds the current list and a cache of its answers, keyed by query string."""

    def __init__(self, store: Store, watcher: InventoryWatcher, supervisor: Supervisor) -> None:
        self._store = store
        self._watcher = watcher
        self._supervisor = supervisor
        self._pages, self._long_lists = _Lane(), _Lane()
        """Pages have a lane of their own, so that no page waits for a list of 100,000 models, whose rendering takes a
        second."""
        self._renderer: ListRenderer | None = None
        self._whole: Representation | None = None
        self._answers: dict[bytes, Representation] = {}
        self._kept_bytes = 0

    def ready(self, query_string: bytes) -> Representation | None:
        """Return the answer to a query if it is cached and up to date, else None."""
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
        lane = self._pages if is_page else self._long_lists
        if (rendering := lane.waiting.get(query_string)) is None:
            rendering = asyncio.create_task(self._render(query_string, query, lane))
            lane.waiting[query_string] = rendering
        # All requests for one answer continue together. If each waited for the lock, they would continue one after the
        # other, and each of them would wait for Python's interpreter lock while a scan runs.
        return await asyncio.shield(rendering)

    async def _render(self, query_string: bytes, query: ListQuery, lane: _Lane) -> Representation:
        async with lane.lock:
            # A request that arrives from now on may know of a change that this rendering does not show.
            del lane.waiting[query_string]
            if answer := self.ready(query_string):
                return answer
            renderer = self._current()
            answer = await to_thread.run_sync(lambda: Representation(renderer.render(query)), limiter=lane.thread)
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
