"""Reads the description of each unit of a job, and the task of the job. The functions block."""

import os

from pydantic_core import from_json

from app.jobs.units.open_jobs import OpenJob
from app.jobs.units.records import MAX_UNIT_BYTES, MAX_UNITS_BYTES, TASK, UNIT, Task, Unit
from app.store.records.forms import RecordDamaged, RecordNotReadable
from app.store.records.reader import open_regular, read_regular


def described(open_job: OpenJob, number: int) -> tuple[Unit, Task | None, list[RecordDamaged]]:
    """Return a unit and its task, and the damage because of which the unit is empty or the task is None.

    Damage of the unit's line alone has no path. Raises RecordNotReadable and OSError.
    """
    unit, task, damages = Unit(), None, list[RecordDamaged]()
    try:
        task = task_of(open_job)
    except RecordNotReadable:
        raise
    except RecordDamaged as exc:
        damages.append(exc)
    try:
        unit, problem = unit_of(line_of(open_job, number))
    except RecordNotReadable:
        raise
    except RecordDamaged as exc:
        damages.append(exc)
    else:
        if problem:
            damages.append(RecordDamaged(problem))
    return unit, task, damages


def task_of(open_job: OpenJob) -> Task:
    """Return what to do with each unit. Raises RecordDamaged and OSError.

    Raises RecordNotReadable if the file is JSON of another form, because a newer version may have written it.
    """
    path = open_job.folder.task
    try:
        data = read_regular(path, TASK.max_bytes)
    except FileNotFoundError:
        raise RecordDamaged("the task of the job is missing", path) from None
    try:
        return TASK.parse(data)
    except RecordDamaged as exc:
        error = RecordNotReadable if _is_json(data) else RecordDamaged
        raise error(str(exc), path) from exc


def unit_of(line: bytes) -> tuple[Unit, str | None]:
    """Return the unit that a line describes, or an empty unit and what is wrong with the line."""
    try:
        return UNIT.parse(line), None
    except RecordDamaged as exc:
        return Unit(), str(exc)


def line_of(open_job: OpenJob, number: int) -> bytes:
    """Return the line that describes a unit. Raises RecordDamaged and OSError."""
    path = open_job.folder.units
    try:
        descriptor = open_regular(path)
    except FileNotFoundError:
        raise RecordDamaged("the list of the job's units is missing", path) from None
    with os.fdopen(descriptor, "rb") as file:
        if open_job.offsets is None:
            if os.fstat(descriptor).st_size > MAX_UNITS_BYTES:
                raise RecordDamaged(f"the list of the job's units has more than {MAX_UNITS_BYTES:,} bytes", path)
            offsets, offset = list[int](), 0
            while len(offsets) < (open_job.job.units or 0) and (line := file.readline(MAX_UNIT_BYTES)):
                offsets.append(offset)
                offset += len(line)
            open_job.offsets = offsets
        if number >= len(open_job.offsets):
            raise RecordDamaged(f"the list of the job's units has no unit {number}", path)
        file.seek(open_job.offsets[number])
        return file.readline(MAX_UNIT_BYTES)


def _is_json(data: bytes) -> bool:
    try:
        from_json(data)
    except ValueError:
        return False
    return True
