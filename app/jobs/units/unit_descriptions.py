"""What the units of a job are: their descriptions, and what is to be done with them. The functions block."""

import os

from app.jobs.units.open_jobs import OpenJob
from app.jobs.units.records import MAX_UNIT_BYTES, MAX_UNITS_BYTES, TASK, UNIT, Task, Unit
from app.store.records.forms import RecordDamaged
from app.store.records.reader import open_regular, read_regular


def task_of(known: OpenJob) -> Task:
    """Return what to do with each unit. Raises RecordDamaged and OSError."""
    try:
        return TASK.parse(read_regular(known.folder.task, TASK.max_bytes))
    except FileNotFoundError:
        raise RecordDamaged("its task is missing") from None


def unit_of(line: bytes) -> tuple[Unit, str | None]:
    """Return the unit that a line describes, or an empty unit and what is wrong with the line."""
    try:
        return UNIT.parse(line), None
    except RecordDamaged as exc:
        return Unit(), str(exc)


def line_of(known: OpenJob, number: int) -> bytes:
    """Return the line that describes a unit. Raises RecordDamaged and OSError."""
    try:
        descriptor = open_regular(known.folder.units)
    except FileNotFoundError:
        raise RecordDamaged("the list of its units is missing") from None
    with os.fdopen(descriptor, "rb") as file:
        if known.offsets is None:
            if os.fstat(descriptor).st_size > MAX_UNITS_BYTES:
                raise RecordDamaged(f"the list of its units has more than {MAX_UNITS_BYTES:,} bytes")
            offsets, offset = list[int](), 0
            while len(offsets) < (known.job.units or 0) and (line := file.readline(MAX_UNIT_BYTES)):
                offsets.append(offset)
                offset += len(line)
            known.offsets = offsets
        if number >= len(known.offsets):
            raise RecordDamaged(f"the list of its units has no unit {number}")
        file.seek(known.offsets[number])
        return file.readline(MAX_UNIT_BYTES)
