"""The errors of the engine, and of the images that it reads."""

import math

from app.errors.base import ServiceError


class EngineError(ServiceError):
    """An error about the engine."""


class EngineNotReady(EngineError):
    """The engine takes no calls in its present state."""

    def __init__(self, state: str, reason: str | None, seconds: float | None = None) -> None:
        """`seconds`: in how many seconds the engine is started again; None if that is not known."""
        because = f": {reason}" if reason else ""
        super().__init__(
            f"The engine takes no calls now; its state is {state!s}{because}. Try again when GET /engine shows that it "
            "is ready."
        )
        self.state = state
        self.retry_after_seconds = None if seconds is None else max(1, math.ceil(seconds))


class EngineUnknown(EngineError):
    """The service does not know yet what the installed version of the vendor's package offers."""

    def __init__(self, package: str, version: str) -> None:
        super().__init__(
            f"What {package} {version} offers is not known yet. The service asks the package in the background, which "
            "takes a minute. Try again then; if that fails, the log has the event engine.wheel_unknown."
        )


class EngineBusy(EngineError):
    """The queue of calls to the engine is full."""

    def __init__(
        self, waiting: int, *, expected_seconds: float | None = None, free_in_seconds: float | None = None
    ) -> None:
        """`waiting` is the number of places that wait.

        `expected_seconds`: in how many seconds the calls that run and wait now are expected to end, so that a call
        behind them would begin. `free_in_seconds`: in how many seconds the running call is expected to end, which may
        free a place. Both are None if no call has ended yet.
        """
        wait = {0: "it runs one now", 1: "1 call already waits for it"}.get(
            waiting, f"{waiting} calls already wait for it"
        )
        expected = "" if expected_seconds is None else f" They are expected to take {expected_seconds:.0f} s."
        super().__init__(f"The engine runs one call at a time, and {wait}.{expected} Try again later.")
        self.waiting = waiting
        self.expected_seconds = None if expected_seconds is None else round(expected_seconds, 1)
        self.retry_after_seconds = None if free_in_seconds is None else max(1, math.ceil(free_in_seconds))


class EngineLacks(EngineError):
    """The engine lacks a capability on this machine, usually because a library is missing."""

    def __init__(self, capability: str, reason: str) -> None:
        super().__init__(f"The engine cannot do this here: {reason}.")
        self.capability = capability


class ModelNotLicensed(EngineError):
    """The model needs a licence.

    Without a licence AsposeAI uses one model only, and ignores the names of other models.
    """

    def __init__(self, name: str, allowed: str) -> None:
        super().__init__(
            f"Without a licence AsposeAI uses {allowed!r} only, so {name!r} cannot be loaded. Set OCR_LICENSE_FILE, or "
            "leave the model out of the request."
        )
        self.name = name
        self.allowed = allowed


class EngineModelMissing(EngineError):
    """The model that AsposeAI would use is not in the model folder."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"AsposeAI needs the model {name!r}, which is not in the model folder. Upload it with PUT /models/{name}, "
            "or pull it with POST /pulls."
        )
        self.name = name


class ModelTooLarge(EngineError):
    """The model does not fit into the memory that the engine may hold."""

    def __init__(self, name: str, need_bytes: int, limit_bytes: int) -> None:
        super().__init__(
            f"{name!r} has {need_bytes} bytes, and the engine may hold {limit_bytes}. Load a smaller model, or raise "
            "OCR_ENGINE_MEMORY_LIMIT."
        )
        self.name = name
        self.need_bytes = need_bytes
        self.limit_bytes = limit_bytes


class ModelDamaged(EngineError):
    """The model's file is cut off or corrupt according to its own header, and an engine that read it could die."""

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{name!r} was not given to the engine: {reason}. Upload or pull the file again.")
        self.name = name
        self.reason = reason


class EngineCallFailed(EngineError):
    """The engine refused the call or failed it; its process still runs."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The engine's call failed: {reason}")
        self.reason = reason


class EngineTimedOut(EngineError):
    """The call passed its deadline. A native call cannot be stopped, so its process was killed."""

    def __init__(self, call: str, seconds: float) -> None:
        super().__init__(
            f"The engine did not finish {call!r} within {seconds:g} s, and its process was replaced. Send less in "
            "one request, or raise the timeout in the settings."
        )


class EngineDied(EngineError):
    """The engine's process ended while it worked on the call."""

    def __init__(self, exit_reason: str, *, was_ordered: bool = False) -> None:
        """`was_ordered`: the service ended the process for a reason that is not the call's, such as a release."""
        super().__init__(
            f"The engine's process ended during the call ({exit_reason}); a new one is being started. Try again."
        )
        self.exit_reason = exit_reason
        self.was_ordered = was_ordered


class EngineOutOfMemory(EngineDied):
    """During the call, the engine's process exceeded its memory limit, or an allocation of memory failed."""

    def __init__(self, exit_reason: str, limit_bytes: int) -> None:
        super().__init__(exit_reason)
        sentence = (
            f"The engine ran out of memory during the call ({exit_reason}), and its process was replaced. Send a "
            "smaller image, fewer pages or a shorter text; or raise OCR_ENGINE_MEMORY_LIMIT and the container's memory."
        )
        self.args = (sentence,)
        self.limit_bytes = limit_bytes
        """The most memory that the engine may hold; 0 if only the machine limits it."""


class ImageError(ServiceError):
    """An error about an image. The engine process sends it to the service as the class name and the facts."""

    def __init__(self, message: str, **facts: str | int) -> None:
        super().__init__(message)
        self.facts = facts


class UnsupportedImage(ImageError):
    """The file has a format that is not supported. Its bytes decide, not its name or its media type."""

    def __init__(self, what: str, known: str) -> None:
        super().__init__(f"The image is {what}. Send {known}.", what=what, known=known)


class UnreadableImage(ImageError):
    """The bytes are corrupt, cut short, or not an image."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"The image cannot be read: {reason}.", reason=reason)


class ImageTooLarge(ImageError):
    """The image has more pixels or pages than the limits allow."""

    def __init__(self, what: str, limit: str) -> None:
        advice = "Send a smaller image, or request fewer pages"
        super().__init__(f"The image has {what}, and the limit is {limit}. {advice}.", what=what, limit=limit)


class PagesBeyondEnd(ImageError):
    """A requested page, or the first page of a requested range, is beyond the end of the document."""

    def __init__(self, first: int, total: int) -> None:
        super().__init__(
            f"Page {first} was requested, and the last page is {total}. Request pages from 1 to {total}.",
            first=first,
            total=total,
        )


class RegionOutsidePage(ImageError):
    """A region to read is not on the page."""

    def __init__(self, region: str, width: int, height: int) -> None:
        super().__init__(
            f"The region {region} is not on the page, which has {width} x {height} pixels. Give regions as "
            "x,y,width,height in pixels of the page, as the answer for the whole page has them.",
            region=region,
            width=width,
            height=height,
        )


class EncryptedPdf(ImageError):
    """The PDF needs a password, or the password that was sent does not open it."""

    def __init__(self, *, is_password_wrong: bool = False) -> None:
        problem = "its password is not the one that was sent" if is_password_wrong else "it needs a password"
        super().__init__(
            f"The PDF is encrypted, and {problem}. Send its password, percent-encoded, in the header X-PDF-Password.",
            is_password_wrong=is_password_wrong,
        )


class UnknownLanguage(ImageError):
    """The engine has no language of that name."""

    def __init__(self, language: str, known: str) -> None:
        super().__init__(f"AsposeAI has no language {language!r}. Use one of: {known}.", language=language, known=known)


class ResourceMissing(ImageError):
    """The recognition needs an OCR model that is not in the model folder."""

    def __init__(self, resource: str) -> None:
        """`resource` is the vendor's name of the OCR model, without `.ocr`."""
        super().__init__(
            f"This recognition needs the OCR model '{resource}.ocr', which is not in the model folder. Fetch it with "
            f'POST /pulls {{"resource": "{resource}"}}, or with the command `ocr-models models pull {resource}`; or '
            f"upload it with PUT /models/{resource}.ocr. Then repeat the request.",
            resource=resource,
        )
        self.resource = resource
        self.file = f"{resource}.ocr"
        self.pull = {"resource": resource}
        """The body of the `POST /pulls` that fetches the OCR model."""


class ResourceRefused(ImageError):
    """The recognition needs an OCR model that is in the model folder, but the vendor refuses the file for its size."""

    def __init__(self, resource: str, size_bytes: int) -> None:
        """`resource` is the vendor's name of the OCR model, without `.ocr`."""
        super().__init__(
            f"The OCR model '{resource}.ocr' is in the model folder, but AsposeOCR refuses it: it has {size_bytes:,} "
            "bytes, and AsposeOCR accepts only the size that its version expects. Replace it with POST /pulls "
            f'{{"resource": "{resource}", "if_exists": "replace"}}, or with the command '
            f"`ocr-models models pull {resource} --if-exists replace`. Then repeat the request.",
            resource=resource,
            size_bytes=size_bytes,
        )
        self.resource = resource
        self.file = f"{resource}.ocr"
        self.size_bytes = size_bytes
        self.pull = {"resource": resource, "if_exists": "replace"}
        """The body of the `POST /pulls` that replaces the OCR model."""
