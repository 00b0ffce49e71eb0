"""A job whose lock this process holds. Only the holder of the lock writes the job's record."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

from app.errors import ServiceError
from app.jobs.progress import Progress
from app.jobs.records import Failure, Job, JobState, marker_of, new_draft_of, result_of, write_record
from app.jobs.slots import Slot
from app.store import explaining_refusals, files_on_server
from app.store.volume.renames import rename_path

SERVER_POLL_INTERVAL_SECONDS = 1.0
"""On a shared volume, the seconds between two questions to the file system's server whether the job is cancelled."""

DONE = "done"
"""The phase of a job that succeeded."""


class HeldJob:
    """A job that this process holds until `release`. As a context manager, it releases the job on exit."""

    def __init__(
        self,
        job: Job,
        folder: Path,
        lock: contextlib.ExitStack,
        *,
        check: Callable[[], None],
        is_shared: bool,
        is_resumable: bool,
    ) -> None:
        """`check` raises StoreUnavailable if the model folder is missing, or another folder has taken its place."""
        self.job = job
        """The job, as last written to its record."""
        self.is_resumable = is_resumable
        """True if another process can continue the job after this process has released it unfinished."""
        self.slot: Slot | None = None
        """The job's slot among the jobs that may run at once; None if their number is not limited."""
        self._check = check
        self._is_shared = is_shared
        self._poll_at = 0.0
        self._folder = folder
        self._lock = lock
        self._writing = threading.Lock()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def write_result(self, text: str) -> None:
        """Write a result that is too large for the record. A sweep removes its file together with the record.

        Raises StoreError and OSError.
        """
        self._check()
        with explaining_refusals():
            # A draft is written and renamed, because a write to the path itself would follow a link at that path.
            draft = new_draft_of(self._folder, self.job.id)
            with draft.open("x") as file:
                file.write(text)
            rename_path(draft, result_of(self._folder, self.job.id))

    def is_cancelled(self) -> bool:
        """Return True if the job is cancelled.

        A call costs one `stat`; on a shared volume the folder is also listed, once a second at most.
        """
        marker = marker_of(self._folder, self.job.id)
        if os.path.lexists(marker):
            return True
        if not self._is_shared or time.monotonic() < self._poll_at:
            return False
        self._poll_at = time.monotonic() + SERVER_POLL_INTERVAL_SECONDS
        with contextlib.suppress(OSError):
            return marker.name in files_on_server(self._folder)
        return False

    def update(self, *, phase: str | None = None, progress: Progress | None = None) -> None:
        """Write the phase and the progress, and set the state to `running`. Raises StoreError and OSError."""
        phase = self.job.phase if phase is None else phase
        self._write(replace(self.job, state=JobState.RUNNING, phase=phase, progress=progress or self.job.progress))

    def succeed(self, result: dict[str, Any] | None) -> None:
        """Finish the job as succeeded, with its result. Raises StoreError and OSError."""
        self._finish(replace(self.job, state=JobState.SUCCEEDED, phase=DONE, result=result))

    def fail(self, error: ServiceError) -> None:
        """Finish the job as failed, with the error. Raises StoreError and OSError."""
        failure = Failure(type(error).__name__, str(error))
        self._finish(replace(self.job, state=JobState.FAILED, failure=failure))

    def cancel(self) -> None:
        """Finish the job as cancelled. Raises StoreError and OSError."""
        self._finish(replace(self.job, state=JobState.CANCELLED))

    def release(self) -> None:
        """Release the lock. After that, any process may take an unfinished job."""
        self._lock.close()

    def _finish(self, job: Job) -> None:
        self._write(replace(job, finished_at=datetime.now(UTC)), is_lasting=True)
        with contextlib.suppress(IsADirectoryError):  # the service puts no folder there
            marker_of(self._folder, job.id).unlink(missing_ok=True)

    def _write(self, job: Job, *, is_lasting: bool = False) -> None:
        self._check()  # otherwise the record could go to another folder that is now mounted there
        with self._writing:
            self.job = write_record(self._folder, job, is_lasting=is_lasting)
