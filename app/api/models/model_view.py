"""Computes what the API shows of each model, from the inventory, the store and the engine."""

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from pathlib import Path
from typing import NamedTuple

from app.api.models.list_query import ListQuery
from app.api.models.schemas import ModelOut
from app.engine.contract.messages import EngineFacts
from app.store import ManualProtection, Model, Policy, format_of_name, is_leased

Filter = Callable[[Model], bool]


class Sources(NamedTuple):
    """The inputs of a `ModelView` that change while the service runs: protections, leases, and the engine's facts."""

    protected: Mapping[str, ManualProtection]
    leased_positions: frozenset[int]
    facts: EngineFacts | None

    def equal(self, others: "Sources") -> bool:
        """True if these sources equal `others`. Every list request calls this method, so the method must be fast."""
        return (
            self.protected is others.protected  # replaced as a whole when they change, like the facts
            and self.facts is others.facts
            and self.leased_positions == others.leased_positions
        )


ChangingFacts = tuple[bool, bool | None, bool]
"""Whether a model is in use, whether AsposeAI recognises it, and whether a caller protects it."""


class ModelView:
    """Builds the entry of the list for each model from its file, the policy and the `Sources`. Immutable."""

    def __init__(self, root: Path, policy: Policy, sources: Sources) -> None:
        self.sources = sources
        self._root = root
        self._policy = policy

    def describe(self, model: Model) -> ModelOut:
        """Return the list's entry for one model."""
        return ModelOut(
            name=model.name,
            path=f"{self._root}/{model.name}",
            format=format_of_name(model.name),
            size_bytes=model.size_bytes,
            modified_at=model.modified_at,
            status=self._policy.status_of(model.name),
            protected=self.is_protected(model),
            in_use=self.is_in_use(model),
            recognised=self.is_recognised(model),
            etag=model.etag,
        )

    def changing_facts(self, model: Model) -> ChangingFacts:
        """Return the facts of a model that can change while its file is unchanged.

        A model's rendered JSON is reused while these facts and the file are unchanged, so this method must be faster
        than `describe`. Protections by the policy are not looked up, since the policy never changes.
        """
        return self.is_in_use(model), self.is_recognised(model), model.name in self.sources.protected

    def is_protected(self, model: Model) -> bool:
        """True if the configuration or a caller protects the model."""
        return model.name in self.sources.protected or self._policy.protecting(model.name) is not None

    def is_in_use(self, model: Model) -> bool:
        """True if any process holds a lease on the model."""
        return is_leased(model.name, self.sources.leased_positions)

    def is_recognised(self, model: Model) -> bool | None:
        """True if AsposeAI lists the model, False if not; None if AsposeAI was not asked since the file was written."""
        facts = self.sources.facts
        if facts is None:
            return None
        if model.name in facts.recognised:
            return True
        # False only if AsposeAI was asked while exactly this file was there. The times of files do not show that: they
        # may come from another machine's clock, differ by milliseconds, or be older than the folder moved in.
        return False if facts.known_models.get(model.name) == model else None

    def filters(self, query: ListQuery) -> list[Filter]:
        """Return the filters of a query, the fastest first; a model must pass all of them."""
        filters: list[Filter] = []
        if (least := query.min_size) is not None:
            filters.append(lambda model: model.size_bytes >= least)
        if query.format is not None:
            filters.append(lambda model: format_of_name(model.name) == query.format)
        if query.name is not None:
            pattern = re.compile(translate(query.name)).match
            filters.append(lambda model: bool(pattern(model.name) or pattern(model.name.rpartition("/")[2])))
        if query.recognised is not None:
            filters.append(lambda model: self.is_recognised(model) is query.recognised)
        if query.status is not None:
            filters.append(lambda model: self._policy.status_of(model.name) == query.status)
        if query.protected is not None:
            filters.append(lambda model: self.is_protected(model) is query.protected)
        if query.in_use is not None:
            filters.append(lambda model: self.is_in_use(model) is query.in_use)
        return filters
