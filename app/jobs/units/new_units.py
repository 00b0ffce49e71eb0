"""The units of a job that is being received: their files and descriptions, in a folder that becomes that of the job.

Until the job is created the folder has another name, because other services look for the record of each job that they
find. A client of NFS remembers for up to half a minute that a file is missing, and would not find the new job for so
long.
"""

import contextlib
import hashlib
import os
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import IO

from app.errors import StoreFull
from app.jobs.records import Job, new_job_id, write_new_record
from app.jobs.units.records import PRIVATE_FILE, PRIVATE_FOLDER, JobFolder, Task, Unit, task_json
from app.store import explaining_refusals
from app.store.volume.renames import rename_path

RECEIVED_SUFFIX = ".received"
"""The end of the name of a folder whose units are received; before it is the id of the job."""
RESERVE_BYTES, RESERVE_PART = 1 << 30, 0.02
"""How much of the disk jobs leave free for models and records: 1 GiB, on a small disk 2 %."""


class NewUnits:
    """Receives the units of one job. Not safe for several threads at once."""

    def __init__(self, jobs_dir: Path, folder: JobFolder, job_id: str, descriptions: IO[str]) -> None:
        """Use `NewUnits.begin`."""
        self.folder = folder
        """The folder of the units now."""
        self.job_id = job_id
        self._jobs_dir = jobs_dir
        self.count = 0
        """How many units there are so far."""
        self.is_created = False
        """True once the units have become a job, which keeps its folder."""
        self._descriptions = descriptions

    @classmethod
    def begin(cls, jobs_dir: Path, job_id: str | None = None) -> "NewUnits":
        """Make the folder of a new job, by default with a new id. Raises OSError."""
        job_id = job_id or new_job_id(datetime.now(UTC))
        folder = JobFolder(jobs_dir, f"{job_id}{RECEIVED_SUFFIX}")
        folder.path.mkdir(mode=PRIVATE_FOLDER)
        folder.inputs.mkdir(mode=PRIVATE_FOLDER)
        _private(folder.log).close()  # empty, so that no service looks for it in vain
        return cls(jobs_dir, folder, job_id, _private(folder.units))

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

    def become(self, job: Job) -> Job:
        """Write the record of the job, give the folder its name, and return the job as it was written.

        Call `finish` before. Raises StoreFull, StoreReadOnly.
        """
        job = write_new_record(self.folder.record, job)
        self.take_name()
        self.is_created = True
        return job

    def take_name(self) -> None:
        """Give the folder the name that the folder of the job has. Raises OSError."""
        folder = JobFolder(self._jobs_dir, self.job_id)
        rename_path(self.folder.path, folder.path)
        self.folder = folder

    def lose_name(self) -> None:
        """Undo `take_name`. Raises OSError."""
        folder = JobFolder(self._jobs_dir, f"{self.job_id}{RECEIVED_SUFFIX}")
        rename_path(self.folder.path, folder.path)
        self.folder = folder

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
