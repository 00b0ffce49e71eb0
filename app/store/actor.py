"""The actor of a change: who makes the change, as the journal and other records name the actor."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change, and by which request."""

    name: str
    """The name of the API key, 'anonymous', 'cli:<user>', or 'service' for a change that no caller asked for."""
    request_id: str | None = None
    address: str | None = None
    """The network address that the request came from, for the journal; behind a proxy, the proxy's address."""

    def to_record(self) -> dict[str, str | None]:
        """Return the fields of this actor for a record on the disk.

        The address is left out, because only the journal states addresses.
        """
        return {"actor": self.name, "request_id": self.request_id}

    @classmethod
    def from_record(cls, fields: dict[str, str | None]) -> "Actor":
        """Build the actor from a record's fields. Raises KeyError if the record names no actor."""
        return cls(str(fields["actor"]), fields.get("request_id"))


SERVICE = Actor("service")
"""The actor of changes that no caller asked for, such as the purge of an expired trash entry."""
