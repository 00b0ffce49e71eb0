"""What the store and the engine know of each model at one moment."""

import re
from collections.abc import Callable, Mapping
from fnmatch import translate
from pathlib import Path

from app.api.models.list_query import ListQuery
from app.api.models.schemas import ModelOut
from app.engine.contract.messages import EngineFacts
from app.store.headers.formats import format_of_name
from app.store.inventory import Model
from app.store.locks.model_locks import is_leased
from app.store.policy import Policy
from app.store.protections import ManualProtection

Test = Callable[[Model], bool]


class ModelView:
    """The rules, the protections, the leases and the engine's facts, joined. Nothing in it changes."""

    def __init__(
        self,
        root: Path,
        policy: Policy,
        protected: Mapping[str, ManualProtection],
        leased_positions: frozenset[int],
        facts: EngineFacts | None,
    ) -> None:
        self.protected = protected
        self.leased_positions = leased_positions
        self.facts = facts
        self._root = root
        self._policy = policy

    def describe(self, model: Model) -> ModelOut:
        """One model as callers see it."""
        return ModelOut(
            name=model.name,
            path=f"{self._root}/{model.name}",
            format=format_of_name(model.name),
            size_bytes=model.size_bytes,
            modified_at=model.modified_at,
            status="old" if self._policy.is_old(model.name) else "current",
            protected=self.is_protected(model),
            in_use=self.is_in_use(model),
            recognised=self.is_recognised(model),
            etag=model.etag,
        )

    def is_protected(self, model: Model) -> bool:
        """Whether the configuration, or somebody, forbids deleting it."""
        return model.name in self.protected or self._policy.protecting(model.name) is not None

    def is_in_use(self, model: Model) -> bool:
        """Whether anybody holds a lease on it."""
        return is_leased(model.name, self.leased_positions)

    def is_recognised(self, model: Model) -> bool | None:
        """Whether AsposeAI names it; None while it has not been asked since the file came."""
        if self.facts is None:
            return None
        if model.name in self.facts.recognised:
            return True
        # A file that came after AsposeAI was asked is not one that it passed over. Times do not tell: a file's may be
        # that of another machine or of some milliseconds ago, and a folder brings files that are older than itself.
        return False if self.facts.known.get(model.name) == model else None

    def tests(self, query: ListQuery) -> list[Test]:
        """What a model must pass to be among those that are asked for, the quickest first."""
        tests: list[Test] = []
        if (least := query.min_size) is not None:
            tests.append(lambda model: model.size_bytes >= least)
        if query.format is not None:
            tests.append(lambda model: format_of_name(model.name) == query.format)
        if query.name is not None:
            pattern = re.compile(translate(query.name)).match
            tests.append(lambda model: bool(pattern(model.name) or pattern(model.name.rpartition("/")[2])))
        if query.recognised is not None:
            tests.append(lambda model: self.is_recognised(model) is query.recognised)
        if query.status is not None:
            wants_old = query.status == "old"
            tests.append(lambda model: self._policy.is_old(model.name) is wants_old)
        if query.protected is not None:
            tests.append(lambda model: self.is_protected(model) is query.protected)
        if query.in_use is not None:
            tests.append(lambda model: self.is_in_use(model) is query.in_use)
        return tests
