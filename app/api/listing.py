"""The model list as bytes, made once for each change: pollers outnumber changes by thousands."""

import asyncio

from app.api.schemas import ModelOut, ScanWarningOut
from app.engine.messages import Facts
from app.engine.supervisor import Supervisor
from app.store.inventory import Inventory, Model
from app.store.keeper import InventoryKeeper
from app.store.locks import is_leased
from app.store.store import Store

Sources = tuple[Inventory, frozenset[int], Facts | None]
Made = tuple[Model, bool, bool | None, str]
"""One model's JSON, and what it was made from."""


class Listing:
    """Joins what the store and the engine know of the models."""

    def __init__(self, store: Store, keeper: InventoryKeeper, supervisor: Supervisor) -> None:
        self._store = store
        self._keeper = keeper
        self._supervisor = supervisor
        self._rendering = asyncio.Lock()
        self._made_from: Sources | None = None
        self._body = b""
        self._made: dict[str, Made] = {}

    async def body(self) -> bytes:
        """The JSON of the whole list, as of now. Raises StoreUnavailable."""
        if not self._is_fresh():
            await self._keeper.current_when_scanned()
            async with self._rendering:
                while not self._is_fresh():
                    sources = self._sources()
                    self._body = await asyncio.to_thread(self._render, sources)
                    self._made_from = sources
        return self._body

    def describe(self, model: Model) -> ModelOut:
        """One model as callers see it."""
        in_use = is_leased(model.name, self._keeper.leased_bytes)
        return self._describe(model, in_use, _recognised(model, self._supervisor.facts))

    def _sources(self) -> Sources:
        return self._keeper.current(), self._keeper.leased_bytes, self._supervisor.facts

    def _is_fresh(self) -> bool:
        made_from = self._made_from
        return (
            made_from is not None
            and made_from[0] is self._keeper.inventory
            and made_from[1] == self._keeper.leased_bytes
            and made_from[2] is self._supervisor.facts
        )

    def _render(self, sources: Sources) -> bytes:
        """The JSON of `ModelList`; a model that is as it was before is not made anew."""
        inventory, leased_bytes, facts = sources
        made: dict[str, Made] = {}
        for name, model in inventory.models.items():
            in_use, recognised = is_leased(name, leased_bytes), _recognised(model, facts)
            before = self._made.get(name)
            if before and before[0] is model and before[1:3] == (in_use, recognised):
                made[name] = before
            else:
                made[name] = model, in_use, recognised, self._describe(model, in_use, recognised).model_dump_json()
        self._made = made
        totals = f'"count":{len(made)},"total_size_bytes":{inventory.total_size_bytes}'
        warnings = ",".join(ScanWarningOut.model_validate(warning).model_dump_json() for warning in inventory.warnings)
        models = ",".join(json for *_, json in made.values())
        return f'{{{totals},"models":[{models}],"warnings":[{warnings}]}}'.encode()

    def _describe(self, model: Model, in_use: bool, recognised: bool | None) -> ModelOut:  # noqa: FBT001 - fields
        rules = self._store.rules
        return ModelOut(
            name=model.name,
            path=f"{self._store.root}/{model.name}",
            size_bytes=model.size_bytes,
            modified_at=model.modified_at,
            status="old" if rules.is_old(model.name) else "current",
            protected=rules.protecting(model.name) is not None,
            in_use=in_use,
            recognised=recognised,
            etag=model.etag,
        )


def _recognised(model: Model, facts: Facts | None) -> bool | None:
    if facts is None:
        return None
    if model.name in facts.recognised:
        return True
    # A file that came after AsposeAI was asked is not one that it passed over.
    return None if model.changed_ns > facts.asked_at.timestamp() * 1e9 else False
