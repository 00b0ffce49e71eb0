"""Finds which models are known to be corrupt: from earlier verifications, and from the models' headers."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from app.errors import StoreError
from app.store.headers.description import Description
from app.store.integrity.digests import Digests
from app.store.inventory import Inventory, Model

Examine = Callable[[str], tuple[Model, Description]]


@dataclass(frozen=True, slots=True)
class Corruption:
    """The models of an inventory that are known to be corrupt."""

    problems: Mapping[str, str]
    """By model name, what is wrong with each corrupt model."""
    unread: int = 0
    """The number of models whose headers have not been read yet."""
    misnamed: Mapping[str, str] = field(default_factory=dict)
    """By model name, the format of the content, for each model whose name's suffix states another format."""


def known_corruption(
    digests: Digests, headers: "HeaderCheckCache", inventory: Inventory, *, seconds: float
) -> Corruption:
    """Return the models that are corrupt according to the record of a verification or to their header.

    Reads headers for `seconds` at most.
    """
    known = headers.corruption(inventory, seconds=seconds)
    found = {
        name: f"its bytes are not those on record, as was seen at {since:%Y-%m-%dT%H:%M:%SZ}"
        for name, since in digests.corrupt_among(inventory.models).items()
    }
    return Corruption(dict(known.problems) | found, known.unread, known.misnamed)


class HeaderCheckCache:
    """Checks the header of each version of a model once, and caches the results. Its methods block."""

    def __init__(self, examine: Examine) -> None:
        self._examine = examine
        self._checks: dict[str, _Check] = {}
        self._reading = threading.Lock()

    def corruption(self, inventory: Inventory, *, seconds: float) -> Corruption:
        """Return the models whose headers are damaged, after reading unread headers for `seconds` at most."""
        deadline = time.monotonic() + seconds
        with self._reading:
            models = inventory.models
            known = {name: found for name, found in self._checks.items() if found.is_of(models.get(name))}
            for name in models.keys() - known.keys():
                if time.monotonic() >= deadline:
                    break
                if found := self._check(name):
                    known[name] = found
            self._checks = known
        damaged = {name: found.damage for name, found in known.items() if found.damage}
        misnamed = {name: found.misnomer for name, found in known.items() if found.misnomer}
        return Corruption(damaged, sum(name not in known for name in models), misnamed)

    def _check(self, name: str) -> "_Check | None":
        try:
            model, description = self._examine(name)
        except (StoreError, OSError):  # deleted meanwhile, or unreadable: read again next time
            return None
        problem = description.problem
        return _Check(
            model.etag,
            problem if description.is_damaged else None,
            problem if description.is_misnamed else None,
        )


@dataclass(frozen=True, slots=True)
class _Check:
    """The result of reading one version of a model."""

    etag: str
    damage: str | None
    misnomer: str | None

    def is_of(self, model: Model | None) -> bool:
        """True if this is the result for the present version of the model."""
        return model is not None and self.etag == model.etag
