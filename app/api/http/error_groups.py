"""Errors that several routes can answer, as groups for `problems(...)`."""

from fastapi.exceptions import RequestValidationError

from app import errors
from app.api.http import request_errors

NAME_ERRORS = (errors.InvalidModelName, errors.NotAModel, errors.ModelNotFound, errors.StoreUnavailable)
"""There is no model of that name, or the name is none."""
WRITE_ERRORS = (errors.StoreUnavailable, *errors.UNWRITABLE)
"""The model folder cannot be changed."""
LOAD_ERRORS = (
    errors.EngineNotReady,
    errors.EngineBusy,
    errors.EngineLacks,
    errors.EngineModelMissing,
    errors.ModelTooLarge,
    errors.ModelDamaged,
    errors.ModelLocked,
    errors.EngineCallFailed,
    errors.EngineTimedOut,
    errors.EngineDied,
    errors.NotAModel,
    errors.StoreUnavailable,
    request_errors.CallerGone,
    RequestValidationError,
)
"""A processor of AsposeAI cannot be loaded."""
IMAGE_ERRORS = (
    errors.UnsupportedImage,
    errors.UnreadableImage,
    errors.ImageTooLarge,
    errors.EncryptedPdf,
    errors.UnknownLanguage,
    errors.ResourceMissing,
    request_errors.UnsupportedForm,
    request_errors.BodyCutShort,
    request_errors.UploadStalled,
)
"""An image cannot be received or read."""
UPLOAD_ERRORS = (
    errors.InvalidModelName,
    errors.NotAModel,
    errors.ModelProtected,
    errors.ModelExists,
    errors.ModelInUse,
    errors.ModelLocked,
    errors.ModelChanged,
    errors.ConditionFailed,
    errors.DigestMismatch,
    errors.StoreUnavailable,
    *errors.UNWRITABLE,
    errors.StoreFull,
    request_errors.BodyCutShort,
    request_errors.UploadStalled,
    request_errors.UnsupportedBody,
    request_errors.UploadsBusy,
    RequestValidationError,
)
"""A model cannot be received or published."""
