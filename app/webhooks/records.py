"""The record of a webhook's delivery, `.store/webhooks/<job id>.json`. Only the holder of its lock writes it.

A job without such a record has not been sent yet. So nothing is written for a webhook when its job ends, and a process
that is killed at that moment cannot lose the webhook.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from app.jobs.records import DRAFT_SUFFIX
from app.store import explaining_refusals
from app.store.records.forms import Finite, RecordForm, Size, Time, Word
from app.store.volume.renames import rename_path


class DeliveryState(StrEnum):
    """The state of a delivery; the last two are final."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the attempts to send a job's end to its webhook."""

    id: Word
    """The job's id."""
    updated_at: Time
    """When the last attempt ended."""
    state: DeliveryState = DeliveryState.PENDING
    attempts: Size = 0
    waited_seconds: Finite = 0.0
    """The sum of the pauses between the attempts. Unlike a time of day, it does not depend on a clock that may be
    wrong, and it does not count the time when no service ran."""
    last_error: str | None = None
    """Why the last attempt failed; None if it did not."""
    next_attempt_at: Time | None = None
    """When the next attempt is due; None if there is none."""

    @property
    def is_over(self) -> bool:
        """True if no further attempt will be made."""
        return self.state is not DeliveryState.PENDING


DELIVERY = RecordForm(Delivery, "webhook")


def delivery_record_of(folder: Path, job_id: str) -> Path:
    """Return the path of the record of a job's webhook."""
    return folder / f"{job_id}.json"


def write_delivery(folder: Path, delivery: Delivery) -> None:
    """Replace a delivery's record atomically; it is synced to the disk first. Raises StoreFull, StoreReadOnly."""
    draft = folder / f"{delivery.id}.{secrets.token_hex(4)}{DRAFT_SUFFIX}"
    with explaining_refusals():
        with draft.open("x") as record:
            record.write(json.dumps(asdict(delivery), default=datetime.isoformat))
            record.flush()
            os.fsync(record.fileno())
        rename_path(draft, delivery_record_of(folder, delivery.id))
