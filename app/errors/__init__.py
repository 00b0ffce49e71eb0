"""Everything that can go wrong in the domain. Knows no HTTP: `app.api.http.problems` maps each class to a status.

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
│  ├─ LookupStale         another machine has changed it, and this one does not see that yet
│  ├─ StoreReadOnly       the model folder's file system is read-only
│  ├─ StoreDenied         the service's user may not change the model folder
│  ├─ StoreUnsafe         the model folder's file system cannot keep changes safe
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
   ├─ ModelDamaged        the model's file is cut off or corrupt: the engine is not asked
   ├─ EngineCallFailed    the call failed, the engine lives
   ├─ EngineTimedOut      the call passed its deadline; its process was killed
   └─ EngineDied          the engine's process ended during the call
"""

from app.errors.base import ServiceError
from app.errors.engine import (
    EngineBusy,
    EngineCallFailed,
    EngineDied,
    EngineError,
    EngineLacks,
    EngineModelMissing,
    EngineNotReady,
    EngineTimedOut,
    ModelDamaged,
    ModelNotLicensed,
    ModelTooLarge,
)
from app.errors.images import (
    EncryptedPdf,
    ImageError,
    ImageTooLarge,
    ResourceMissing,
    UnknownLanguage,
    UnreadableImage,
    UnsupportedImage,
)
from app.errors.models import (
    ConditionFailed,
    DigestMismatch,
    InvalidModelName,
    ModelChanged,
    ModelError,
    ModelExists,
    ModelInUse,
    ModelLocked,
    ModelNotFound,
    ModelProtected,
    NotAModel,
    StoreError,
)
from app.errors.pulls import (
    PullConflict,
    SourceError,
    SourceMismatch,
    SourceNotAllowed,
    SourceNotFound,
    SourceRefused,
    SourceUnavailable,
)
from app.errors.store import (
    JobAbandoned,
    JobNotFound,
    JobWithoutResults,
    LookupStale,
    PartialBusy,
    PartialNotFound,
    StoreDenied,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    StoreUnsafe,
    TrashEntryNotFound,
)

UNWRITABLE = (StoreReadOnly, StoreDenied, StoreUnsafe, LookupStale)
"""What every change of the model folder may answer, whatever it is."""

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
    "EngineTimedOut",
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
    "PartialBusy",
    "PartialNotFound",
    "PullConflict",
    "ResourceMissing",
    "ServiceError",
    "SourceError",
    "SourceMismatch",
    "SourceNotAllowed",
    "SourceNotFound",
    "SourceRefused",
    "SourceUnavailable",
    "StoreDenied",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
    "StoreUnsafe",
    "TrashEntryNotFound",
    "UnknownLanguage",
    "UnreadableImage",
    "UnsupportedImage",
]
