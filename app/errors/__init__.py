"""The errors of the domain: one exception class for each thing that can go wrong, and the sentence that users read.

This package knows no HTTP: `app.api.http.problem_table` gives each class its status and problem type. The package
`errors` imports no other package of `app`.

ServiceError
├─ StoreError
│  ├─ ModelError
│  │  ├─ InvalidModelName    no model can have this name
│  │  ├─ NotAModel           the name belongs to a link, a folder or a device
│  │  ├─ ModelNotFound       no such model
│  │  ├─ ModelProtected      the model is protected by the settings or by a caller
│  │  ├─ ModelInUse          a process holds a lease on the model
│  │  ├─ ModelLocked         another request or process is changing the model
│  │  ├─ ModelExists         the name is taken, and the model is not overwritten
│  │  ├─ ModelChanged        the model is not the version named in If-Match
│  │  ├─ ConditionFailed     the model exists against If-None-Match, or is missing against If-Match
│  │  └─ DigestMismatch      the received bytes do not have the announced digest
│  ├─ TrashEntryNotFound     no such entry in the trash
│  ├─ JobNotFound            no such job
│  ├─ JobAbandoned           the process that ran the job ended, or lost the folder, before the job ended
│  ├─ IdempotencyKeyReused   the Idempotency-Key was sent before with a different request
│  ├─ TooManyUnits           the jobs of one API key have too many unfinished files, texts and pulls
│  ├─ UnitAbandoned          several services ended while they worked on a file or text of a job
│  ├─ UnitDamaged            the description, file or result of a unit of a job is damaged or missing
│  ├─ JobWithoutResults      a former version ran the job, which has not succeeded, or has no stream
│  ├─ PartialNotFound        no such unfinished upload or pull
│  ├─ UploadUnusable         the upload cannot be a file of a job
│  ├─ PartialBusy            another request or process is writing the upload or pull
│  ├─ StoreUnavailable       the model folder is missing, or was replaced since the service started
│  ├─ LookupStale            this machine does not see another machine's change yet
│  ├─ StoreReadOnly          the model folder's file system is read-only
│  ├─ StoreDenied            the service's user may not change the model folder
│  ├─ StoreUnsafe            the model folder's file system cannot keep changes safe
│  └─ StoreFull              the disk of the model folder is full
├─ QueueUnavailable          the database of the queue is not available
├─ StateError
│  ├─ StateFull              the disk of the state folder is full
│  └─ StateUnavailable       the state folder cannot be used
├─ SourceError
│  ├─ SourceNotAllowed       the settings do not allow requests for this URL
│  ├─ SourceNotFound         no such repository, revision or file
│  ├─ SourceRefused          the source gives this service no access
│  ├─ SourceUnavailable      the source cannot be reached, or fails
│  ├─ SourceMismatch         the source sends other data than expected
│  ├─ PullsMisconfigured     the environment of this service prevents all requests to sources
│  └─ PullConflict           an unfinished pull of the model has another source or other parameters
├─ ImageError
│  ├─ UnsupportedImage       the file has a format that is not supported
│  ├─ UnreadableImage        the file is corrupt, cut short, or not an image
│  ├─ ImageTooLarge          the image has more pixels or pages than the limits allow
│  ├─ PagesBeyondEnd         a range of the requested pages begins after the last page
│  ├─ RegionOutsidePage      a region to read is not on the page
│  ├─ EncryptedPdf           the PDF needs a password, or the password that was sent is wrong
│  ├─ UnknownLanguage        the engine has no language of that name
│  ├─ ResourceMissing        the OCR model for that language or kind of area is not in the model folder
│  └─ ResourceRefused        the OCR model is in the model folder, but the engine refuses the file for its size
└─ EngineError
   ├─ EngineNotReady         the engine takes no calls in its present state
   ├─ EngineUnknown          the service does not know yet what this version of the vendor's package offers
   ├─ EngineBusy             the queue of calls to the engine is full
   ├─ EngineLacks            the engine lacks a function on this machine: a library is missing
   ├─ ModelNotLicensed       without a licence AsposeAI uses one model only
   ├─ EngineModelMissing     the model that AsposeAI needs is not in the folder
   ├─ ModelTooLarge          the model does not fit the engine's memory limit
   ├─ ModelDamaged           the model's file is cut off or corrupt
   ├─ EngineCallFailed       the call failed, but the engine's process still runs
   ├─ EngineTimedOut         the call passed its deadline, and its process was killed
   └─ EngineDied             the engine's process ended during the call
      └─ EngineOutOfMemory   the process ended because it needed more memory than it may have
"""

from app.errors.base import ServiceError
from app.errors.engine import (
    EncryptedPdf,
    EngineBusy,
    EngineCallFailed,
    EngineDied,
    EngineError,
    EngineLacks,
    EngineModelMissing,
    EngineNotReady,
    EngineOutOfMemory,
    EngineTimedOut,
    EngineUnknown,
    ImageError,
    ImageTooLarge,
    ModelDamaged,
    ModelNotLicensed,
    ModelTooLarge,
    PagesBeyondEnd,
    RegionOutsidePage,
    ResourceMissing,
    ResourceRefused,
    UnknownLanguage,
    UnreadableImage,
    UnsupportedImage,
)
from app.errors.pulls import (
    PullConflict,
    PullsMisconfigured,
    SourceError,
    SourceMismatch,
    SourceNotAllowed,
    SourceNotFound,
    SourceRefused,
    SourceUnavailable,
)
from app.errors.queue import QueueUnavailable
from app.errors.state import StateError, StateFull, StateUnavailable
from app.errors.store import (
    ConditionFailed,
    DigestMismatch,
    IdempotencyKeyReused,
    InvalidModelName,
    JobAbandoned,
    JobNotFound,
    JobWithoutResults,
    LookupStale,
    ModelChanged,
    ModelError,
    ModelExists,
    ModelInUse,
    ModelLocked,
    ModelNotFound,
    ModelProtected,
    NotAModel,
    PartialBusy,
    PartialNotFound,
    StoreDenied,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnsafe,
    TooManyUnits,
    TrashEntryNotFound,
    UnitAbandoned,
    UnitDamaged,
    UploadUnusable,
)

UNWRITABLE = (StoreReadOnly, StoreDenied, StoreUnsafe, LookupStale)
"""The errors, besides StoreUnavailable, that any change of the model folder may raise."""

__all__ = [
    "UNWRITABLE",
    "ConditionFailed",
    "DigestMismatch",
    "EncryptedPdf",
    "EngineBusy",
    "EngineCallFailed",
    "EngineDied",
    "EngineError",
    "EngineLacks",
    "EngineModelMissing",
    "EngineNotReady",
    "EngineOutOfMemory",
    "EngineTimedOut",
    "EngineUnknown",
    "IdempotencyKeyReused",
    "ImageError",
    "ImageTooLarge",
    "InvalidModelName",
    "JobAbandoned",
    "JobNotFound",
    "JobWithoutResults",
    "LookupStale",
    "ModelChanged",
    "ModelDamaged",
    "ModelError",
    "ModelExists",
    "ModelInUse",
    "ModelLocked",
    "ModelNotFound",
    "ModelNotLicensed",
    "ModelProtected",
    "ModelTooLarge",
    "NotAModel",
    "PagesBeyondEnd",
    "PartialBusy",
    "PartialNotFound",
    "PullConflict",
    "PullsMisconfigured",
    "QueueUnavailable",
    "RegionOutsidePage",
    "ResourceMissing",
    "ResourceRefused",
    "ServiceError",
    "SourceError",
    "SourceMismatch",
    "SourceNotAllowed",
    "SourceNotFound",
    "SourceRefused",
    "SourceUnavailable",
    "StateError",
    "StateFull",
    "StateUnavailable",
    "StoreDenied",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
    "StoreUnsafe",
    "TooManyUnits",
    "TrashEntryNotFound",
    "UnitAbandoned",
    "UnitDamaged",
    "UnknownLanguage",
    "UnreadableImage",
    "UnsupportedImage",
    "UploadUnusable",
]
