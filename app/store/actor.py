"""Who makes a change."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked for a change, and by which request."""

    name: str
    """The name of the API key, 'anonymous', 'cli:<user>', or 'service' for what the service does by itself."""
    request_id: str | None = None

    def to_record(self) -> dict[str, str | None]:
        """The fields as records on disk have them."""
        return {"actor": self.name, "request_id": self.request_id}

    @classmethod
    def from_record(cls, fields: dict[str, str | None]) -> "Actor":
        """Read a record's fields. Raises KeyError when they are not an actor's."""
        return cls(str(fields["actor"]), fields.get("request_id"))


SERVICE = Actor("service")
"""The service itself, as for what it purges because it has expired."""
