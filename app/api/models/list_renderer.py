"""Renders the list of models as JSON: filtered, sorted, in pages."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from app.api.models.list_query import ListQuery, Position, Selection
from app.api.models.model_view import ChangingFacts, ModelView
from app.api.models.schemas import ScanWarningOut
from app.store import Inventory, Model

QUICK_MODELS = 200
"""How many models a page may have to be rendered in the event loop. This takes less than two milliseconds, even if the
JSON of no model is cached."""
MAX_SELECTED = 16
"""How many selections are cached, for the next pages of their lists."""

Rendered = tuple[Model, ChangingFacts, str]
"""A model, its changing facts, and the JSON that was rendered from them."""

SORT_KEYS: dict[str, Callable[[Model], Position]] = {
    "name": lambda model: (0, model.name),
    "size_bytes": lambda model: (model.size_bytes, model.name),
    "modified_at": lambda model: (model.modified_ns, model.name),
}
"""For each sort field, the function that returns a model's position."""


@dataclass(frozen=True, slots=True)
class Selected:
    """The models that match a query's filters, in ascending order even if the query asks for descending order."""

    models: list[Model]
    total_size_bytes: int


class ListRenderer:
    """Renders lists of the models of one inventory. Reuses results of the previous renderer that are still valid."""

    def __init__(self, inventory: Inventory, view: ModelView, before: "ListRenderer | None" = None) -> None:
        self.inventory = inventory
        self.view = view
        self._selected: dict[Selection, Selected] = {}
        self.orders: dict[str, list[Model]] = {}
        """For each sort field, all models in ascending order."""
        if before and before.inventory is inventory:
            self.orders = before.orders
        self.rendered: dict[str, Rendered] = {}
        # Do not reuse the rendered models if most of them were deleted, because they would fill the memory.
        if before and len(before.rendered) <= 2 * len(inventory.models) + QUICK_MODELS:
            self.rendered = before.rendered

    def is_quick(self, query: ListQuery) -> bool:
        """True if `render` is fast enough for the event loop with this query. Otherwise call it in a thread."""
        return query.limit is not None and query.limit <= QUICK_MODELS and query.selection in self._selected

    def render(self, query: ListQuery) -> bytes:
        """Return the `ModelListOut` that answers a query, as JSON.

        The JSON is joined by hand from the JSON of each model, most of which is rendered already. Pydantic would take
        three times as long for 10,000 models, and twelve times if their objects were not kept. A test compares the
        bytes with pydantic's.
        """
        selected = self._select(query)
        models, is_last = _page(selected.models, query)
        cursor = "null" if is_last else f'"{query.cursor_at(_position(query)(models[-1]))}"'
        totals = f'"count":{len(selected.models)},"total_size_bytes":{selected.total_size_bytes}'
        warnings = self._warnings if query.cursor is None else ""
        shown = ",".join(map(self._json, models))
        return f'{{{totals},"models":[{shown}],"next_cursor":{cursor},"warnings":[{warnings}]}}'.encode()

    def _select(self, query: ListQuery) -> Selected:
        if (selected := self._selected.get(query.selection)) is None:
            filters = self.view.filters(query)
            models = self._order(query.sort.removeprefix("-"))
            if filters:
                models = [model for model in models if all(passes(model) for passes in filters)]
            selected = Selected(models, sum(model.size_bytes for model in models))
            if len(self._selected) >= MAX_SELECTED:
                self._selected = {}
            self._selected[query.selection] = selected
        return selected

    def _order(self, field: str) -> list[Model]:
        if (models := self.orders.get(field)) is None:
            models = list(self.inventory.models.values())
            if field != "name":
                models.sort(key=SORT_KEYS[field])
            self.orders[field] = models
        return models

    def _json(self, model: Model) -> str:
        """Return one model's JSON, rendered again only if the model has changed."""
        facts = self.view.changing_facts(model)
        before = self.rendered.get(model.name)
        if before and before[0] is model and before[1] == facts:
            return before[2]
        json = self.view.describe(model).model_dump_json()
        self.rendered[model.name] = model, facts, json
        return json

    @cached_property
    def _warnings(self) -> str:
        warnings = self.inventory.warnings
        return ",".join(ScanWarningOut.model_validate(warning).model_dump_json() for warning in warnings)


def _position(query: ListQuery) -> Callable[[Model], Position]:
    return SORT_KEYS[query.sort.removeprefix("-")]


def _page(models: list[Model], query: ListQuery) -> tuple[list[Model], bool]:
    """Return the models of one page, and whether the page is the last page.

    Bisection finds the page, so a long list takes hardly more time.
    """
    after, limit, position = query.after, query.limit or len(models), _position(query)
    if query.sort.startswith("-"):
        end = len(models) if after is None else bisect_left(models, after, key=position)
        start = max(0, end - limit)
        return models[start:end][::-1], start == 0
    start = 0 if after is None else bisect_right(models, after, key=position)
    return models[start : start + limit], start + limit >= len(models)
