"""The models at one moment: those that are asked for, in the order that is asked for, as JSON."""

from bisect import bisect_left, bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from app.api.models.list_query import ListQuery, Position, Selection
from app.api.models.model_view import ModelView
from app.api.models.schemas import ScanWarningOut
from app.store.inventory import Inventory, Model

QUICK_MODELS = 200
"""A page of so many takes under two milliseconds, even if none of them was ever shown before."""
MAX_SELECTED = 16
"""How many selections are remembered, for their next pages."""

Made = tuple[Model, tuple[bool, bool | None, bool], str]
"""One model's JSON, and what it was made from."""

POSITIONS: dict[str, Callable[[Model], Position]] = {
    "name": lambda model: (0, model.name),
    "size_bytes": lambda model: (model.size_bytes, model.name),
    "modified_at": lambda model: (model.modified_ns, model.name),
}


@dataclass(frozen=True, slots=True)
class Selected:
    """The models that match, ascending, whichever way they are asked for."""

    models: list[Model]
    total_size_bytes: int


class ListRenderer:
    """An inventory with what is known of its models. What is made of it is kept, and given on to the next catalogue."""

    def __init__(self, inventory: Inventory, view: ModelView, before: "ListRenderer | None" = None) -> None:
        self.inventory = inventory
        self.view = view
        self._selected: dict[Selection, Selected] = {}
        self.orders: dict[str, list[Model]] = {}
        if before and before.inventory is inventory:
            self.orders = before.orders
        self.made: dict[str, Made] = {}
        # So that models which are gone do not fill the memory.
        if before and len(before.made) <= 2 * len(inventory.models) + QUICK_MODELS:
            self.made = before.made

    def is_quick(self, query: ListQuery) -> bool:
        """Whether the answer takes no longer than that; else it is for a thread."""
        return query.limit is not None and query.limit <= QUICK_MODELS and query.selection in self._selected

    def render(self, query: ListQuery) -> bytes:
        """The JSON of `ModelList`."""
        selected = self._select(query)
        models, is_last = _page(selected.models, query)
        cursor = "null" if is_last else f'"{query.cursor_at(_position(query)(models[-1]))}"'
        totals = f'"count":{len(selected.models)},"total_size_bytes":{selected.total_size_bytes}'
        warnings = self._warnings if query.cursor is None else ""
        shown = ",".join(map(self._json, models))
        return f'{{{totals},"models":[{shown}],"next_cursor":{cursor},"warnings":[{warnings}]}}'.encode()

    def _select(self, query: ListQuery) -> Selected:
        if (selected := self._selected.get(query.selection)) is None:
            tests = self.view.tests(query)
            models = self._order(query.sort.removeprefix("-"))
            if tests:
                models = [model for model in models if all(test(model) for test in tests)]
            selected = Selected(models, sum(model.size_bytes for model in models))
            if len(self._selected) >= MAX_SELECTED:
                self._selected = {}
            self._selected[query.selection] = selected
        return selected

    def _order(self, field: str) -> list[Model]:
        if (models := self.orders.get(field)) is None:
            models = list(self.inventory.models.values())
            if field != "name":
                models.sort(key=POSITIONS[field])
            self.orders[field] = models
        return models

    def _json(self, model: Model) -> str:
        """One model's JSON; one that is as it was before is not made anew."""
        view = self.view
        known = view.is_in_use(model), view.is_recognised(model), model.name in view.protected
        before = self.made.get(model.name)
        if before and before[0] is model and before[1] == known:
            return before[2]
        json = view.describe(model).model_dump_json()
        self.made[model.name] = model, known, json
        return json

    @cached_property
    def _warnings(self) -> str:
        warnings = self.inventory.warnings
        return ",".join(ScanWarningOut.model_validate(warning).model_dump_json() for warning in warnings)


def _position(query: ListQuery) -> Callable[[Model], Position]:
    return POSITIONS[query.sort.removeprefix("-")]


def _page(models: list[Model], query: ListQuery) -> tuple[list[Model], bool]:
    """The models of one page, and whether it is the last; found by bisection, however many there are."""
    after, limit, position = query.after, query.limit or len(models), _position(query)
    if query.sort.startswith("-"):
        end = len(models) if after is None else bisect_left(models, after, key=position)
        start = max(0, end - limit)
        return models[start:end][::-1], start == 0
    start = 0 if after is None else bisect_right(models, after, key=position)
    return models[start : start + limit], start + limit >= len(models)
