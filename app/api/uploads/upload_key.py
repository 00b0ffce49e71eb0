"""The `Idempotency-Key` of a request that creates an upload: sent again, the request gets the same upload."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from app.jobs.idempotency import IdempotencyKeys
from app.store import Actor, PartialRecord

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class UploadKey:
    """A caller's key for a new upload. The methods block."""

    keys: IdempotencyKeys
    actor: Actor
    text: str | None
    """The key; None if the request has none."""
    fingerprint: str

    def upload(self) -> str | None:
        """Return the id of the upload that the key has created, if it still exists.

        Raises IdempotencyKeyReused, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        with self.keys.held(self.actor, self.text, "upload") as held:
            return held.upload_of(self.fingerprint, self.keys.has_upload)

    def create(self, upload_id: str, begin: Callable[[], T]) -> T | str:
        """Call `begin`, which creates the upload with this id, and return its result.

        If the key has created an upload meanwhile, return its id. Raises what `upload` and `begin` raise.
        """
        with self.keys.held(self.actor, self.text, "upload") as held:
            if earlier := held.upload_of(self.fingerprint, self.keys.has_upload):
                return earlier
            held.note(upload_id, self.fingerprint)
            return begin()


def fingerprint_of(record: PartialRecord) -> str:
    """Return the digest of what a new upload was asked for: its size, metadata and conditions, and not its bytes."""
    return hashlib.sha256(json.dumps([record.kind, record.expected_bytes, record.extra]).encode()).hexdigest()
