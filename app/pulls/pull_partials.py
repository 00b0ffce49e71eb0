"""The partial files of pulls, in the staging folder. Each partial file belongs to one model of one job."""

import contextlib
import hashlib

from app.errors import PartialBusy, PartialNotFound
from app.store import Store


def partial_id(job_id: str, name: str) -> str:
    """Return the id of the partial file for one model of a pull. Every runner of the job computes the same id."""
    return hashlib.sha256(f"{job_id}/{name}".encode()).hexdigest()[:32]


def discard_partials(store: Store, job_id: str) -> None:
    """Remove the partial files of a finished pull."""
    for partial in store.incoming.partials():
        if partial.record and partial.record.extra.get("job_id") == job_id and not partial.is_active:
            with contextlib.suppress(PartialNotFound, PartialBusy):  # a sweep has removed it, or is removing it
                store.incoming.discard(partial.id)
