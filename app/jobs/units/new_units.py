"""The units of a job that is being received: their files and descriptions, in the folder that the job will have."""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from app.errors import StoreFull
from app.jobs.records import new_job_id
from app.jobs.units.records import PRIVATE_FILE, PRIVATE_FOLDER, JobFolder, Task, Unit, task_json
from app.store import explaining_refusals

RESERVE_BYTES, RESERVE_PART = 1 << 30, 0.02
"""How much of the disk jobs leave free for models and records: 1 GiB, on a small disk 2 %."""


class NewUnits:
    """Receives the units of one job. Not safe for several threads at once."""

    def __init__(self, folder: JobFolder, job_id: str, descriptions: IO[str]) -> None:
        """Use `NewUnits.begin`."""
        self.folder = folder
        self.job_id = job_id
        self.count = 0
        """How many units there are so far."""
        self.is_created = False
        """True once the units have become a job, which keeps its folder."""
        self._descriptions = descriptions

    @classmethod
    def begin(cls, jobs_dir: Path, job_id: str | None = None) -> "NewUnits":
        """Make the folder of a new job, by default with a new id. Raises OSError."""
        job_id = job_id or new_job_id(datetime.now(UTC))
        folder = JobFolder(jobs_dir, job_id)
        folder.path.mkdir(mode=PRIVATE_FOLDER)
        folder.inputs.mkdir(mode=PRIVATE_FOLDER)
        return cls(folder, job_id, _private(folder.units))

    def path_of(self, number: int) -> Path:
        """Return the path of the file of a unit that is to be received. Raises StoreFull if the disk is nearly full."""
        self.require_space()
        return self.folder.input_of(number)

    def require_space(self) -> None:
        """Raise StoreFull if the disk is nearly full."""
        require_space(self.folder.path)

    def add_all(self, units: Iterable[Unit]) -> None:
        """Add units. The file of a unit, if it has one, is at `folder.input_of(number)`. Raises StoreFull etc."""
        with explaining_refusals():
            for unit in units:
                self._descriptions.write(f"{unit.to_json()}\n")
                self.count += 1

    def finish(self, task: Task) -> None:
        """Write the descriptions to the disk, and what to do with each unit. Raises OSError."""
        with _private(self.folder.task) as file:
            file.write(task_json(task))
            _sync(file)
        _sync(self._descriptions)
        self._descriptions.close()

    def fingerprint(self, kind: str) -> str:
        """Return the digest of the units, their files and the task, after `finish`. Raises OSError."""
        digest = hashlib.sha256(kind.encode())
        paths = [self.folder.task, self.folder.units, *(self.folder.input_of(number) for number in range(self.count))]
        for path in paths:
            with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        return digest.hexdigest()

    def close(self) -> None:
        """Close the file of the descriptions."""
        self._descriptions.close()


def require_space(folder: Path, more_bytes: int = 0) -> None:
    """Raise StoreFull if the disk of a folder is nearly full, or would be with `more_bytes`."""
    disk = os.statvfs(folder)
    free_bytes = disk.f_bavail * disk.f_frsize - more_bytes
    if free_bytes < min(RESERVE_BYTES, disk.f_blocks * disk.f_frsize * RESERVE_PART):
        raise StoreFull("the files of jobs leave the last part of it to models", free_bytes=max(0, free_bytes))


def _private(path: Path) -> IO[str]:
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, PRIVATE_FILE), "w")


def _sync(file: IO[str]) -> None:
    file.flush()
    os.fsync(file.fileno())
