"""The actor of a change: who makes it, as the journal and other records name them."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change, and by which request."""

    name: str
    """The name of the API key, 'anonymous', 'cli:<user>', or 'service' for a change that no caller asked for."""
    request_id: str | None = None
    address: str | None = None
    """The network address that the request came from, for the journal. It is a proxy's address if there is a proxy."""

    def to_record(self) -> dict[str, str | None]:
        """Return the fields of this actor for a record on the disk.

        The address is left out: only the journal has it.
        """
        return {"actor": self.name, "request_id": self.request_id}

    @classmethod
    def from_record(cls, fields: dict[str, str | None]) -> "Actor":
        """Build the actor from a record's fields. Raises KeyError if the record names no actor."""
        return cls(str(fields["actor"]), fields.get("request_id"))


SERVICE = Actor("service")
"""The actor of changes that no caller asked for, such as the purge of an expired trash entry."""
