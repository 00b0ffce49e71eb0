"""The record of a webhook's delivery, `.store/webhooks/<job id>.json`. Only the holder of its lock writes it.

A webhook without such a record has not been sent yet. So nothing is written for it when its job ends, and a process
that is killed at that moment cannot lose the webhook.
"""

import json
import os
import secrets
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from pathlib import Path

from app.jobs.records import DRAFT_SUFFIX, Job
from app.store import explaining_refusals
from app.store.records.forms import Finite, RecordDamaged, RecordForm, Size, Time, Word
from app.store.records.reader import read_regular
from app.store.volume.renames import rename_path
from app.store.volume.volume import Volume


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


DAMAGED = "its record in .store/webhooks/ is damaged. Once that file is removed, the webhook is sent again"


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


def read_delivery(volume: Volume, job_id: str) -> Delivery | None:
    """Read a delivery's record; None if there is none. A damaged one is reported, and RecordDamaged raised."""
    path = delivery_record_of(volume.webhooks_dir, job_id)
    try:
        delivery = DELIVERY.parse(read_regular(path, DELIVERY.max_bytes))
        if delivery.id != job_id:
            raise RecordDamaged("it names another job than its file name")
    except FileNotFoundError:
        return None
    except RecordDamaged as exc:
        volume.records.note(path, DELIVERY.kind, str(exc))
        raise
    return delivery


def delivery_of(volume: Volume, job: Job) -> Delivery | None:
    """Return what became of the delivery of a job's webhook; None if the job has no webhook. Raises OSError.

    A webhook that has not been sent yet is pending; one whose record is damaged counts as failed.
    """
    if job.webhook is None:
        return None
    try:
        found = read_delivery(volume, job.id) if job.is_finished else None
    except RecordDamaged:
        return Delivery(job.id, job.updated_at, DeliveryState.FAILED, last_error=DAMAGED)
    return found or Delivery(job.id, job.updated_at)
