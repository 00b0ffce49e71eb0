"""What the wire itself refuses, before the store or the engine is asked."""

AS_A_FILE = "Send the file's bytes as they are, as application/octet-stream, such as `curl -T model.gguf URL` does."
KEPT = "Of an upload to /uploads what came is kept; any other is to be sent again."
CHALLENGE = 'Bearer realm="ocr-model-service"'


class Unauthenticated(Exception):
    """No key, or one that is not known."""

    def __init__(self, detail: str, challenge: str) -> None:
        super().__init__(detail)
        self.headers = {"www-authenticate": challenge}

    @classmethod
    def missing(cls) -> "Unauthenticated":
        """The request has no key."""
        return cls("This operation needs an API key: send 'Authorization: Bearer <key>'.", CHALLENGE)

    @classmethod
    def unknown(cls) -> "Unauthenticated":
        """Nobody has the key of this request."""
        return cls("This API key is not known here.", f'{CHALLENGE}, error="invalid_token"')


class MissingScope(Exception):
    """The key is known and does not have the scope."""

    def __init__(self, key_name: str, scope: str) -> None:
        super().__init__(
            f"The key {key_name!r} lacks the scope {scope!r}, which this operation needs. Ask for a key that has it."
        )
        self.scope = str(scope)
        self.headers = {"www-authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'}


class ServiceReadOnly(Exception):
    """OCR_READ_ONLY is set."""

    def __init__(self) -> None:
        super().__init__("This service runs with OCR_READ_ONLY=true and changes nothing. Ask one that may.")


class BodyTooLarge(Exception):
    """The request's body is larger than is read."""

    def __init__(self, limit_bytes: int, setting: str = "OCR_MAX_BODY_BYTES") -> None:
        super().__init__(f"The request's body is larger than the {limit_bytes} bytes that are read ({setting}).")
        self.limit_bytes = limit_bytes


class PlanChanged(Exception):
    """The plan that is to be executed is not the plan that there would be now."""

    def __init__(self, plan_id: str) -> None:
        super().__init__(
            f"A model came, changed or went since the plan {plan_id!r} was made, or the request is another one. "
            "Nothing was deleted: look at a new dry run."
        )
        self.plan_id = plan_id


class TextTooLong(Exception):
    """A text would not fit what a model can read at once."""

    def __init__(self, index: int, size_bytes: int, limit_bytes: int, what: str) -> None:
        super().__init__(
            f"{what} of texts[{index}] has {size_bytes} bytes in UTF-8, and a model is given {limit_bytes} at most. "
            "Send it in parts."
        )
        self.index = index
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class CallerGone(Exception):
    """The caller hung up while something was done for it."""

    def __init__(self) -> None:
        super().__init__("The caller hung up; what was being done for it was stopped, and nobody reads this.")


class UploadsBusy(Exception):
    """As many uploads as may come at once are coming."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} uploads are coming in, which is as many as may at once (OCR_MAX_UPLOADS). Try again when one of "
            "them is through."
        )
        self.limit = limit


class UploadStalled(Exception):
    """Nothing more came of a body."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"Nothing more of the body came for {seconds:g} s (OCR_UPLOAD_STALL_TIMEOUT). {KEPT}")
        self.headers = {"connection": "close"}


class BodyCutShort(Exception):
    """The connection ended before the body did."""

    def __init__(self) -> None:
        super().__init__(f"The connection ended before the body did. {KEPT}")


class UnsupportedBody(Exception):
    """The body is something else than a model's bytes as they are."""

    def __init__(self, what: str, advice: str = AS_A_FILE) -> None:
        super().__init__(f"The body is {what}. {advice}")


class UnsupportedTus(Exception):
    """The request speaks another version of tus."""

    def __init__(self, version: str) -> None:
        super().__init__(f"tus {version!r} is not spoken here, only 1.0.0.")
        self.headers = {"tus-version": "1.0.0"}


class OffsetMismatch(Exception):
    """The chunk does not begin where the upload ends."""

    def __init__(self, offset: int) -> None:
        super().__init__(
            f"The upload goes on at {offset}, and the chunk does not begin there. Send the rest from there."
        )
        self.offset = offset


class ChecksumMismatch(Exception):
    """The chunk is not what was announced."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(
            f"The chunk's {algorithm} is not that of its Upload-Checksum. It was discarded; send it again."
        )
        self.algorithm = algorithm


class NotAcceptable(Exception):
    """None of the formats that the caller accepts is one of ours."""

    def __init__(self, formats: str) -> None:
        super().__init__(f"The answer can be {formats}. Name one of them in Accept, or none for JSON.")


class UnsupportedForm(Exception):
    """The form is not what it should be."""

    def __init__(self, reason: str) -> None:
        super().__init__(
            f"The form cannot be used: {reason}. Send one file in a field 'file'; for a job, several such fields."
        )


class WrongHost(Exception):
    """The request addresses a host that this service is not."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"This service does not answer for the host {host!r}. Add it to OCR_ALLOWED_HOSTS if it should."
        )


class CrossOrigin(Exception):
    """A web page of another origin tries to change something."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"A page of {origin} may not change anything here. Call from a program, or from this service's docs page."
        )
