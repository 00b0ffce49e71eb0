"""Everything that can go wrong in the domain. Knows no HTTP: `app.api.problems` maps each class to a status.

ServiceError
├─ StoreError
│  ├─ InvalidModelName    the name can never be a model's
│  ├─ NotAModel           something lies there that is not a regular file: a link, a folder, a device
│  ├─ ModelNotFound       no such model
│  ├─ ModelProtected      the configuration, or somebody, forbids its deletion
│  ├─ ModelInUse          somebody holds a lease on it
│  ├─ ModelLocked         somebody is changing it right now
│  ├─ ModelExists         the name is taken, and nothing is ever overwritten
│  ├─ ModelChanged        it is not the version that the caller named
│  ├─ ConditionFailed     it is there and was not to be, or the other way round
│  ├─ DigestMismatch      what came is not what was announced
│  ├─ TrashEntryNotFound  no such entry in the trash
│  ├─ JobNotFound         no such job
│  ├─ JobAbandoned        the process that ran the job ended before it
│  ├─ JobWithoutResults   the job is not done, or not well
│  ├─ PartialNotFound     no such unfinished upload or pull
│  ├─ PartialBusy         somebody is writing that one right now
│  ├─ StoreUnavailable    the model folder is missing, or is not the one it was
│  ├─ StoreReadOnly       the model folder cannot be written
│  └─ StoreFull           the disk below the model folder is full
├─ ImageError
│  ├─ UnsupportedImage    not a format that is read, or not the one that was announced
│  ├─ UnreadableImage     broken, cut short, or not an image at all
│  ├─ ImageTooLarge       more pixels or pages than are read
│  ├─ EncryptedPdf        it needs a password
│  ├─ UnknownLanguage     the engine has no language of that name
│  └─ ResourceMissing     the engine lacks the file for that language or kind of area
├─ SourceError
│  ├─ SourceNotAllowed    the settings do not let a URL be pulled from
│  ├─ SourceNotFound      no such repository, revision or file
│  ├─ SourceRefused       the other side does not give it to us
│  ├─ SourceUnavailable   the other side cannot be reached, or fails
│  ├─ SourceMismatch      what comes is not what was said to come
│  └─ PullConflict        another pull brings something else to the same place
└─ EngineError
   ├─ EngineNotReady      no call can be taken in the engine's present state
   ├─ EngineBusy          the queue before the engine is full
   ├─ EngineLacks         the engine cannot do this here: a library is missing
   ├─ ModelNotLicensed    without a licence AsposeAI uses one model only
   ├─ EngineModelMissing  the model that AsposeAI would use is not in the folder
   ├─ ModelTooLarge       the model does not fit the engine's memory limit
   ├─ EngineCallFailed    the call failed, the engine lives
   ├─ EngineTimedOut      the call passed its deadline; its process was killed
   └─ EngineDied          the engine's process ended during the call
"""

from typing import Any


class ServiceError(Exception):
    """The root. Attributes are facts; `str()` is a sentence that says what to do."""


class StoreError(ServiceError):
    """Something about the model folder or a model in it."""


class ModelError(StoreError):
    """Something about one model."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(message)
        self.name = name


class InvalidModelName(ModelError):
    """The name can never be a model's, whatever lies in the folder."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(
            name,
            f"The model name {name!r} cannot be used: {reason}. A model's name is its path below the model folder, "
            "such as 'en_ocr_v2.bin' or 'org_repo/model.gguf'.",
        )


class NotAModel(ModelError):
    """Something that is not a regular file of the model folder lies at that name."""

    def __init__(self, name: str, what: str) -> None:
        super().__init__(
            name,
            f"{name!r} is {what}. Models are regular files below the model folder; links are not followed.",
        )


class ModelNotFound(ModelError):
    """No such model."""

    def __init__(self, name: str) -> None:
        super().__init__(name, f"There is no model {name!r} in the model folder. GET /models lists those there are.")


class ModelProtected(ModelError):
    """The configuration, or somebody, forbids deleting and replacing this model."""

    def __init__(self, name: str, pattern: str | None, reason: str | None) -> None:
        super().__init__(
            name,
            f"{name!r} is protected by the pattern {pattern!r} in OCR_PROTECTED; only the configuration can lift that."
            if pattern is not None
            else f"{name!r} is protected: {reason}. DELETE /models/{name}/protection lifts that, if it may go.",
        )
        self.pattern = pattern
        self.reason = reason


class ModelInUse(ModelError):
    """At least one process holds a lease on the model."""

    def __init__(self, name: str, blockers: list[dict[str, Any]]) -> None:
        super().__init__(
            name,
            f"{name!r} is in use; nothing was done. Ask its users, listed in blockers, to let go of it first.",
        )
        self.blockers = blockers


class ModelLocked(ModelError):
    """Somebody else is changing the model right now."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name, f"Somebody else is changing {name!r} right now; nothing was done. Try again in a moment."
        )


class ModelExists(ModelError):
    """The name is taken."""

    def __init__(self, name: str) -> None:
        super().__init__(
            name,
            f"There is a model {name!r} already, and nothing is overwritten. Choose another name; an upload replaces "
            "the version that it names in If-Match.",
        )


class ModelChanged(ModelError):
    """The model is not the version that the caller named in If-Match."""

    def __init__(self, name: str, etag: str) -> None:
        super().__init__(name, f"{name!r} is now the version {etag}, not the one named in If-Match. Nothing was done.")
        self.etag = etag


class ConditionFailed(ModelError):
    """The model is there and was not to be, or was to be and is not."""

    def __init__(self, name: str, etag: str | None) -> None:
        super().__init__(
            name,
            f"There is no model {name!r}, so no version of it is the one named in If-Match. Nothing was done."
            if etag is None
            else f"There is a model {name!r}, the version {etag}, which If-None-Match rules out. Nothing was done.",
        )
        self.etag = etag


class DigestMismatch(ModelError):
    """The bytes that came are not those that were announced."""

    def __init__(self, name: str, algorithm: str, expected: str, actual: str) -> None:
        super().__init__(
            name,
            f"The bytes that came for {name!r} have the {algorithm} {actual}, not the announced {expected}. Nothing "
            "was kept; send them again.",
        )
        self.algorithm = algorithm
        self.expected = expected
        self.actual = actual


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
        super().__init__(f"The model folder cannot be used: {reason}. Nothing was read or changed.")


class StoreReadOnly(StoreError):
    """The model folder can be read but not changed."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The model folder is read-only: {reason}. Nothing was changed; listing works.")


class StoreFull(StoreError):
    """The disk is full, or a quota is."""

    def __init__(self, reason: str, need_bytes: int | None = None, free_bytes: int | None = None) -> None:
        super().__init__(f"There is no room for it on the model folder's disk: {reason}. Nothing was changed.")
        self.need_bytes = need_bytes
        self.free_bytes = free_bytes


class SourceError(ServiceError):
    """Something about where a pulled model comes from."""


class SourceNotAllowed(SourceError):
    """The settings do not let this URL be pulled from."""

    def __init__(self, url: str, reason: str) -> None:
        super().__init__(f"{url} cannot be pulled: {reason}. OCR_PULL_ALLOWED_URLS says from where URLs may be pulled.")
        self.url = url


class SourceNotFound(SourceError):
    """There is no such repository, revision or file."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"There is no {what}: {reason}. Check its spelling and the revision.")


class SourceRefused(SourceError):
    """The other side knows it and does not give it to us, or does not say whether it knows it."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(
            f"{what} is not given to this service: {reason}. A private or gated repository takes an OCR_HUB_TOKEN "
            "whose owner has access to it; a repository that does not exist may be answered so too."
        )


class SourceUnavailable(SourceError):
    """The other side cannot be reached, is overloaded, or fails."""

    def __init__(self, what: str, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(f"{what} cannot be had right now: {reason}. Try again later.")
        self.retry_after_seconds = retry_after_seconds


class SourceMismatch(SourceError):
    """What comes is not what was said to come."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"{what} is not what it was said to be: {reason}. Nothing was kept.")


class PullConflict(SourceError):
    """Another pull brings something else to the same place."""

    def __init__(self, name: str, job_id: str) -> None:
        super().__init__(
            f"The pull {job_id} brings {name!r} from elsewhere, or on other terms. Cancel it, or wait for its end."
        )
        self.name = name
        self.job_id = job_id


class EngineError(ServiceError):
    """Something about the engine."""


class EngineNotReady(EngineError):
    """The engine takes no calls in its present state."""

    def __init__(self, state: str, reason: str | None) -> None:
        because = f": {reason}" if reason else ""
        super().__init__(
            f"The engine takes no calls, its state is {state!s}{because}. GET /engine tells when it is ready."
        )
        self.state = state


class EngineBusy(EngineError):
    """The queue before the engine is full."""

    def __init__(self, waiting: int) -> None:
        super().__init__(f"The engine works on one call at a time and {waiting} already wait. Try again later.")
        self.waiting = waiting


class EngineLacks(EngineError):
    """The engine cannot do this on this machine."""

    def __init__(self, capability: str, reason: str) -> None:
        super().__init__(f"The engine cannot do this here: {reason}.")
        self.capability = capability


class ModelNotLicensed(EngineError):
    """AsposeAI uses one model only without a licence, whatever it is told."""

    def __init__(self, name: str, allowed: str) -> None:
        super().__init__(
            f"Without a licence (OCR_LICENSE_FILE) AsposeAI uses {allowed!r} and no other: {name!r} cannot be loaded."
        )
        self.name = name
        self.allowed = allowed


class EngineModelMissing(EngineError):
    """The model that AsposeAI would use is not in the model folder."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"AsposeAI would use the model {name!r}, and it is not in the model folder. Send it with "
            f"PUT /models/{name}, or have it fetched with POST /pulls."
        )
        self.name = name


class ModelTooLarge(EngineError):
    """The model does not fit the memory that the engine may hold."""

    def __init__(self, name: str, need_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"{name!r} has {need_bytes} bytes, and the engine may hold {limit_bytes} (OCR_ENGINE_MEMORY_LIMIT)."
        )
        self.name = name
        self.need_bytes = need_bytes
        self.limit_bytes = limit_bytes


class EngineCallFailed(EngineError):
    """The engine refused or failed the call; it goes on living."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The engine could not do it: {reason}")
        self.reason = reason


class EngineTimedOut(EngineError):
    """The call passed its deadline. A native call cannot be stopped, so its process was killed."""

    def __init__(self, call: str, seconds: float) -> None:
        super().__init__(f"The engine did not finish {call!r} within {seconds:g} s; its process was replaced.")


class EngineDied(EngineError):
    """The engine's process ended while it worked on the call."""

    def __init__(self, exit_reason: str) -> None:
        super().__init__(
            f"The engine's process ended during the call ({exit_reason}); a new one is being started. Try again."
        )
        self.exit_reason = exit_reason


class ImageError(ServiceError):
    """Something about an image that is to be read. It crosses from the engine process as its class's name and facts."""

    def __init__(self, message: str, **facts: str | int) -> None:
        super().__init__(message)
        self.facts = facts


class UnsupportedImage(ImageError):
    """The bytes are of a format that is not read, or not of the one that was announced."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"The image is {what}. PNG, JPEG, TIFF, BMP, GIF and PDF are read, under their own media types.", what=what
        )


class UnreadableImage(ImageError):
    """The bytes are broken, cut short, or no image at all."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The image cannot be read: {reason}.", reason=reason)


class ImageTooLarge(ImageError):
    """The image has more pixels or pages than are read."""

    def __init__(self, what: str, limit: str) -> None:
        super().__init__(f"The image has {what}, and the limit is {limit}.", what=what, limit=limit)


class EncryptedPdf(ImageError):
    """The PDF cannot be opened without a password."""

    def __init__(self) -> None:
        super().__init__("The PDF is encrypted. Send it without a password.")


class UnknownLanguage(ImageError):
    """The engine has no language of that name."""

    def __init__(self, language: str, known: str) -> None:
        super().__init__(f"AsposeAI has no language {language!r}. It has: {known}.", language=language, known=known)


class ResourceMissing(ImageError):
    """The engine lacks the file that it needs for that language or kind of area, and nothing is downloaded."""

    def __init__(self, resource: str) -> None:
        super().__init__(
            f"AsposeAI needs {resource!r} for that, which its package does not carry and this service does not "
            "download. Choose another language or kind of area.",
            resource=resource,
        )
        self.resource = resource
