"""The errors of models, the model folder, the trash, jobs, and unfinished uploads and pulls."""

from typing import Any

from app.errors.base import ServiceError


class StoreError(ServiceError):
    """An error about the model folder or something in it."""


class ModelError(StoreError):
    """An error about one model."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class InvalidModelName(ModelError):
    """No model can have this name."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            name,
            f"The model name {name!r} cannot be used: {reason}. A model's name is its path below the model folder, "
            "such as 'en_ocr_v2.bin' or 'org_repo/model.gguf'.",
        )


class NotAModel(ModelError):
    """The name belongs to something that is not a regular file of the model folder."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(
            name,
            f"{name!r} is {what}. Models are regular files below the model folder; links are not followed.",
        )


class ModelNotFound(ModelError):
    """There is no model of that name."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"The model folder has no model {name!r}. GET /models lists the models.")


class ModelProtected(ModelError):
    """The model is protected, by `OCR_PROTECTED` or by a caller, and is neither deleted nor replaced."""

    def __init__(self, name: str, pattern: str | None, reason: str | None, advice: str | None = None) -> None:
        super().__init__(
            name,
            f"{name!r} is protected by the pattern {pattern!r} in OCR_PROTECTED. Only a change of that setting removes "
            "the protection."
            if pattern is not None
            else f"{name!r} is protected: {reason}. "
            + (advice or f"DELETE /models/{name}/protection removes the protection."),
        )
        self.pattern = pattern
        self.reason = reason


class ModelInUse(ModelError):
    """At least one process holds a lease on the model."""

    def __init__(self, name: str, blockers: list[dict[str, Any]]) -> None:
        super().__init__(
            name,
            f"{name!r} is in use, and nothing was done. Have the processes listed in blockers release it, then try "
            "again.",
        )
        self.blockers = blockers


class ModelLocked(ModelError):
    """Another request or process is changing the model right now."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            f"Another request or process is changing {name!r}, and nothing was done. Try again in a moment.",
        )


class ModelExists(ModelError):
    """A model of that name exists."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            f"There is already a model {name!r}, and it is not overwritten. Choose another name; a restore takes it in "
            "?as=. An upload replaces a model if If-Match holds its ETag, a pull if if_exists is replace, and a "
            "restore never does.",
        )


class ModelChanged(ModelError):
    """The model is not the version that the caller named in If-Match."""

    def __init__(self, name: str, etag: str) -> None:
        super().__init__(
            name,
            f"{name!r} is now the version {etag}, which If-Match does not name (an etag there keeps its quotes). "
            "Nothing was done; get the model again to see what changed.",
        )
        self.etag = etag


class ConditionFailed(ModelError):
    """The model exists although If-None-Match excludes it, or is missing although If-Match requires it."""

    def __init__(self, name: str, etag: str | None) -> None:
        super().__init__(
            name,
            f"There is no model {name!r}, and If-Match requires one. Nothing was done."
            if etag is None
            else f"There is a model {name!r}, the version {etag}, which If-None-Match excludes. Nothing was done.",
        )
        self.etag = etag


class DigestMismatch(ModelError):
    """The received bytes do not have the announced digest."""

    def __init__(
        self, name: str, algorithm: str, expected: str, actual: str, *, advice: str = "send them again"
    ) -> None:
        super().__init__(
            name,
            f"The bytes received for {name!r} have the {algorithm} {actual}, not the announced {expected}. They were "
            f"discarded; {advice}.",
        )
        self.algorithm = algorithm
        self.expected = expected
        self.actual = actual


class TrashEntryNotFound(StoreError):
    """There is no such entry in the trash: it never existed, was restored, was purged, or has expired."""

    def __init__(self, trash_id: str) -> None:
        super().__init__(
            f"The trash has no entry with the id {trash_id!r}. GET /trash lists the entries with their ids."
        )
        self.trash_id = trash_id


class JobNotFound(StoreError):
    """There is no such job: it never existed, or finished longer ago than `OCR_JOB_RETENTION`."""

    def __init__(self, job_id: str, *, is_damaged: bool = False) -> None:
        """With `is_damaged`, the job exists, but its record cannot be read."""
        absent = f"There is no job {job_id!r}. Finished jobs are removed after OCR_JOB_RETENTION."
        damaged = (
            f"The record of the job {job_id!r} is damaged or missing, so the job can neither be shown nor continued. "
            f"Send its request again. What is left of its results is in .store/jobs/{job_id} for OCR_JOB_RETENTION."
        )
        super().__init__(damaged if is_damaged else absent)
        self.job_id = job_id


class JobAbandoned(StoreError):
    """The job's process ended or lost the model folder before the job ended; no other process can continue the job."""

    def __init__(self, kind: str, owner: str | None) -> None:
        super().__init__(
            f"The service that ran this {kind} job ended before the job was done, or could no longer write to the "
            f"model folder ({owner}). Start a new job."
        )


class IdempotencyKeyReused(StoreError):
    """The caller has sent the Idempotency-Key before, with a different request."""

    def __init__(self, job_id: str, what: str = "job") -> None:
        """`job_id` is the id of `what` the earlier request has created: a job or an upload."""
        super().__init__(
            f"The Idempotency-Key was sent before with other contents or options, which became the {what} {job_id}. "
            "Send a new key with new work, and the same work with its own key."
        )
        self.job_id = job_id


class TooManyUnits(StoreError):
    """The caller has as many unfinished files, texts and pulls in its jobs as one API key may have."""

    def __init__(self, waiting: int, limit: int) -> None:
        super().__init__(
            f"The jobs of this API key have {waiting} files, texts and pulls that are not done; with those sent "
            f"now there may be {limit} at most (OCR_MAX_WAITING_UNITS). Wait until some are done, or send fewer."
        )
        self.waiting = waiting
        self.limit = limit


class UnitAbandoned(StoreError):
    """Several services ended while they worked on one file or text of a job; it is not tried again."""

    def __init__(self, times: int) -> None:
        super().__init__(
            f"The service that worked on this ended {times} times before it was done, so it is not tried again. Look "
            "in the services' logs for what ended them, and send it alone in a new job."
        )
        self.times = times


class UnitDamaged(StoreError):
    """What the job's folder has of one file or text of a job is damaged or missing."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The record of this file or text in the model folder is damaged: {reason}. Send it again in a new job. "
            "The operator should look for a program that changes files below .store/jobs, or for a failing disk."
        )


class JobWithoutResults(StoreError):
    """A job of a former version has not succeeded, so that it has no results; or it has, but they have no stream."""

    def __init__(self, job_id: str, state: str) -> None:
        missing = (
            "its results are complete and have no stream. Get them from the URL without /events"
            if state == "succeeded"
            else f"it has results only after it has succeeded, and its state is {state!s}"
        )
        super().__init__(f"A former version of the service ran the job {job_id}: {missing}.")
        self.state = state


class UploadUnusable(StoreError):
    """An upload cannot be a file of a job."""

    def __init__(self, upload_id: str, reason: str) -> None:
        super().__init__(f"The upload {upload_id!r:.100} cannot be used: {reason}.")


class PartialNotFound(StoreError):
    """There is no unfinished upload or pull with that id: it never existed, was cancelled, or has expired."""

    def __init__(self, partial_id: str) -> None:
        super().__init__(
            f"There is no unfinished upload {partial_id!r}: it never existed, is complete, was cancelled, or has "
            "expired. Start a new one."
        )
        self.id = partial_id


class PartialBusy(StoreError):
    """Another request or process is writing the unfinished upload or pull."""

    def __init__(self, partial_id: str) -> None:
        super().__init__(f"Another request or process is writing {partial_id!r}. Try again when it has ended.")
        self.id = partial_id


class StoreUnavailable(StoreError):
    """The model folder is missing, or is not the one the service started with."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The model folder cannot be used: {reason}{'' if reason.endswith('?') else '.'}")


class StoreUnsafe(StoreError):
    """The model folder's file system lacks functions that keep changes safe when several services share the folder."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The model folder is not changed, because its file system cannot keep changes safe: {reason}. Nothing was "
            "changed; listing works. GET /storage shows the checks, docs/volumes.md what to do."
        )


class LookupStale(StoreError):
    """This machine still sees an outdated version of a file on a file server."""

    def __init__(self) -> None:
        super().__init__(
            "Another machine has just changed this model, and this machine does not see the change yet. Nothing was "
            "deleted or replaced. If the model is missing now, it reappears within seconds. Try again."
        )


class StoreDenied(StoreError):
    """The service's user may not change the model folder."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"This process's user lacks the rights to change the model folder: {reason}. Nothing was changed; listing "
            "works. Run the process as the user that owns the folder, or give its user write access to the folder and "
            "everything in it."
        )


class StoreReadOnly(StoreError):
    """The model folder is on a file system that is mounted read-only."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The model folder is read-only: {reason}. Nothing was changed; listing works. Mount it writable to change "
            "models."
        )


class StoreFull(StoreError):
    """The disk or a quota is full."""

    def __init__(self, reason: str, need_bytes: int | None = None, free_bytes: int | None = None) -> None:
        super().__init__(
            f"The model folder's disk has too little space: {reason}. Nothing was changed. DELETE /trash and DELETE "
            "/models/{name} with permanent=true free space, also on a full disk; then try again."
        )
        self.need_bytes = need_bytes
        self.free_bytes = free_bytes
