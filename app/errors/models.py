"""What can go wrong with one model."""

from typing import Any

from app.errors.base import ServiceError


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
