"""Which models are known to be damaged: a verification found so, or their headers say so."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from app.errors import StoreError
from app.store.headers.description import Description
from app.store.integrity.digests import Digests
from app.store.inventory import Inventory, Model

Examine = Callable[[str], tuple[Model, Description]]


@dataclass(frozen=True, slots=True)
class Damage:
    """What is known of all models."""

    problems: Mapping[str, str]
    """What is wrong, by the names of the damaged ones."""
    unread: int = 0
    """How many headers were not looked at yet."""


def known_damage(digests: Digests, headers: "HeaderCheckCache", inventory: Inventory, *, seconds: float) -> Damage:
    """What verifications found, and what headers say after reading on for so long at most. It blocks."""
    damage = headers.damage(inventory, seconds=seconds)
    found = {
        name: f"its bytes are not those on record, as was seen at {since:%Y-%m-%dT%H:%M:%SZ}"
        for name, since in digests.corrupt_among(inventory.models).items()
    }
    return Damage(dict(damage.problems) | found, damage.unread)


class HeaderCheckCache:
    """What was read of headers, each read once for each version of a model. It blocks: use it from threads."""

    def __init__(self, examine: Examine) -> None:
        self._examine = examine
        self._problems: dict[str, tuple[str, str | None]] = {}
        self._reading = threading.Lock()

    def damage(self, inventory: Inventory, *, seconds: float) -> Damage:
        """What is known of these models, after reading on for so long at most."""
        deadline = time.monotonic() + seconds
        with self._reading:
            models = inventory.models
            known = {name: found for name, found in self._problems.items() if _is_of(found, models.get(name))}
            for name in models.keys() - known.keys():
                if time.monotonic() >= deadline:
                    break
                if found := self._look(name):
                    known[name] = found
            self._problems = known
        problems = {name: problem for name, (_, problem) in known.items() if problem}
        return Damage(problems, sum(name not in known for name in models))

    def _look(self, name: str) -> tuple[str, str | None] | None:
        try:
            model, description = self._examine(name)
        except (StoreError, OSError):  # gone meanwhile, or unreadable: another look
            return None
        return model.etag, description.problem if description.is_damaged else None


def _is_of(found: tuple[str, str | None], model: Model | None) -> bool:
    return model is not None and found[0] == model.etag
