"""The partial files of pulls, in staging: each belongs to one model of one job."""

import contextlib
import hashlib

from app.errors import PartialBusy, PartialNotFound
from app.store import Store


def partial_id(job_id: str, name: str) -> str:
    """Return the id of the partial file of one model of one pull, by which each runner of the job finds it."""
    return hashlib.sha256(f"{job_id}/{name}".encode()).hexdigest()[:32]


def discard_partials(store: Store, job_id: str) -> None:
    """Remove what a finished pull left in staging."""
    for partial in store.incoming.partials():
        if partial.record and partial.record.extra.get("job_id") == job_id and not partial.is_active:
            with contextlib.suppress(PartialNotFound, PartialBusy):  # a sweep was faster, or is at it
                store.incoming.discard(partial.id)
