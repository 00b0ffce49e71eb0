"""The errors of the state folder, which holds the engine's working directories and the images during recognition."""

from app.errors.base import ServiceError


class StateError(ServiceError):
    """An error about the service's state folder, `OCR_STATE_DIR`."""


class StateFull(StateError):
    """The disk of the state folder is full."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The disk of the service's state folder (OCR_STATE_DIR) has too little space: {reason}. The image was not "
            "read, and no model was changed. Free some space on that disk, then try again."
        )


class StateUnavailable(StateError):
    """The state folder cannot be used."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The service's state folder (OCR_STATE_DIR) cannot be used: {reason}. The image was not read, and no "
            "model was changed. Give the service a folder that its user can write, then try again."
        )
