"""What can go wrong with the model folder, its trash, its jobs and what comes in."""

from app.errors.models import StoreError


class TrashEntryNotFound(StoreError):
    """No such entry in the trash: it was never there, was restored, was purged, or has expired."""

    def __init__(self, trash_id: str) -> None:
        super().__init__(f"There is no entry {trash_id!r} in the trash. GET /trash lists those there are.")
        self.trash_id = trash_id


class JobNotFound(StoreError):
    """No such job: it was never there, or finished so long ago that it was forgotten."""

    def __init__(self, job_id: str) -> None:
        super().__init__(f"There is no job {job_id!r}. Finished ones are forgotten after OCR_JOB_RETENTION.")
        self.job_id = job_id


class JobAbandoned(StoreError):
    """The process that ran the job ended before the job did, and nobody can go on with it."""

    def __init__(self, kind: str, owner: str | None) -> None:
        super().__init__(f"The service that ran this {kind} job ended before it was done ({owner}). Ask for it again.")


class JobWithoutResults(StoreError):
    """The job has no results: it is not done, or failed, or was cancelled."""

    def __init__(self, job_id: str, state: str) -> None:
        super().__init__(f"The job {job_id} has no results, its state is {state!s}. They are there once it succeeded.")
        self.state = state


class PartialNotFound(StoreError):
    """No unfinished upload or pull has that id: it was discarded, has expired, or never was."""

    def __init__(self, partial_id: str) -> None:
        super().__init__(f"Nothing unfinished has the id {partial_id!r}: it was given up, has expired, or never was.")
        self.id = partial_id


class PartialBusy(StoreError):
    """Somebody else is writing the unfinished upload or pull."""

    def __init__(self, partial_id: str) -> None:
        super().__init__(
            f"Another request or process is writing {partial_id!r} right now. Go on with it when that one has ended."
        )
        self.id = partial_id


class StoreUnavailable(StoreError):
    """The model folder is missing, or is not the one the service started with."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The model folder cannot be used: {reason}.")


class StoreUnsafe(StoreError):
    """The model folder's file system lacks what a change needs to be safe beside other services."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The model folder is not changed, because its file system cannot keep changes safe: {reason}. Nothing was "
            "changed; listing works. GET /storage has the checks, docs/volumes.md what helps."
        )


class LookupStale(StoreError):
    """This machine goes on seeing another version of a file than its file system's server has."""

    def __init__(self) -> None:
        super().__init__(
            "Another machine has just changed this, and this one does not see it yet. Nothing was deleted or replaced. "
            "If the model is missing now, it is back within seconds. Try again."
        )


class StoreDenied(StoreError):
    """The service's user may not change the model folder."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The service's user lacks the rights to change the model folder: {reason}. Nothing was changed; listing "
            "works. Give that user write access to the folder and everything in it."
        )


class StoreReadOnly(StoreError):
    """The model folder lies on a file system that is mounted read-only."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The model folder is read-only: {reason}. Nothing was changed; listing works.")


class StoreFull(StoreError):
    """The disk is full, or a quota is."""

    def __init__(self, reason: str, need_bytes: int | None = None, free_bytes: int | None = None) -> None:
        super().__init__(f"There is no room for it on the model folder's disk: {reason}. Nothing was changed.")
        self.need_bytes = need_bytes
        self.free_bytes = free_bytes
