"""What can go wrong with the engine."""

from app.errors.base import ServiceError


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


class ModelDamaged(EngineError):
    """The model's file is cut off or corrupt, by its own header; an engine that read it could die of it."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} was not given to the engine: {reason}. Have the file brought anew.")
        self.name = name
        self.reason = reason


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
