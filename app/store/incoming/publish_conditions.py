"""The conditions under which a model may be published: which present version may be replaced, if any."""

from dataclasses import dataclass

from app.errors import ConditionFailed, ModelChanged, ModelExists
from app.store.inventory import Model


@dataclass(frozen=True, slots=True)
class Conditions:
    """The conditions of a publication. Each is a set of ETags, in which '*' stands for any version."""

    if_match: frozenset[str] | None = None
    """The versions that may be replaced; one of them must be present. If None, no version may be replaced."""
    if_none_match: frozenset[str] | None = None
    """The versions that must not be present. If None, there is no such condition."""

    def check(self, name: str, present: Model | None) -> None:
        """Raise ModelExists, ModelChanged or ConditionFailed if the present version does not meet the conditions."""
        if present is None:
            if self.if_match is not None:
                raise ConditionFailed(name, None)
            return
        if self.if_none_match and self.if_none_match & {"*", present.etag}:
            raise ConditionFailed(name, present.etag)
        if self.if_match is None:
            raise ModelExists(name)
        if not self.if_match & {"*", present.etag}:
            raise ModelChanged(name, present.etag)
