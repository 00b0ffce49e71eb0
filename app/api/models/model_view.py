"""What the API says of each model, computed from the inventory, the store and the engine at one moment."""

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
    """What a view is computed from, of what changes while the service runs."""

    protected: Mapping[str, ManualProtection]
    leased_positions: frozenset[int]
    facts: EngineFacts | None

    def are(self, others: "Sources") -> bool:
        """True if nothing has changed: then a view of the others is up to date. Must cost next to nothing."""
        return (
            self.protected is others.protected  # replaced as a whole when they change, as the facts are
            and self.facts is others.facts
            and self.leased_positions == others.leased_positions
        )


ChangingFacts = tuple[bool, bool | None, bool]


class ModelView:
    """Builds the schema of a model from the file, the policy and the sources. A view never changes."""

    def __init__(self, root: Path, policy: Policy, sources: Sources) -> None:
        self.sources = sources
        self._root = root
        self._policy = policy

    def describe(self, model: Model) -> ModelOut:
        """Build the schema of one model."""
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
        """Return what `describe` says of a model that can change while its file stays as it is.

        The rendered JSON of a model is used again while these and the file are equal, so this must cost less than
        `describe`: protections by the policy are not looked up, since the policy never changes.
        """
        return self.is_in_use(model), self.is_recognised(model), model.name in self.sources.protected

    def is_protected(self, model: Model) -> bool:
        """True if the configuration or a caller protects the model."""
        return model.name in self.sources.protected or self._policy.protecting(model.name) is not None

    def is_in_use(self, model: Model) -> bool:
        """True if any process holds a lease on the model."""
        return is_leased(model.name, self.sources.leased_positions)

    def is_recognised(self, model: Model) -> bool | None:
        """True if AsposeAI lists the model; None if it has not been asked after the file was written."""
        facts = self.sources.facts
        if facts is None:
            return None
        if model.name in facts.recognised:
            return True
        # AsposeAI has not passed over a file that it was not asked about. Times do not tell: a file's may be that of
        # another machine or of some milliseconds ago, and a folder brings files that are older than itself.
        return False if facts.known_models.get(model.name) == model else None

    def filters(self, query: ListQuery) -> list[Filter]:
        """Return the filters of a query, the fastest first; a model must pass each."""
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
