"""Errors that the API itself finds in a request. The errors of the store and the engine are in `app.errors`."""

AS_A_FILE = "Send the file's bytes unencoded, as application/octet-stream, as `curl -T model.gguf URL` does."
KEPT = "An upload to /uploads keeps the bytes received; send any other request again."
CHALLENGE = 'Bearer realm="ocr-model-service"'


class Unauthenticated(Exception):
    """The request has no API key, or an unknown key."""

    def __init__(self, detail: str, challenge: str) -> None:
        super().__init__(detail)
        self.headers = {"www-authenticate": challenge}

    @classmethod
    def missing(cls) -> "Unauthenticated":
        """Return the error for a request without a key."""
        return cls("This operation needs an API key: send 'Authorization: Bearer <key>'.", CHALLENGE)

    @classmethod
    def unknown(cls) -> "Unauthenticated":
        """Return the error for a key that is not in the file of keys."""
        return cls("This service does not know the API key.", f'{CHALLENGE}, error="invalid_token"')


class MissingScope(Exception):
    """The key is known but lacks the scope."""

    def __init__(self, key_name: str, scope: str) -> None:
        super().__init__(
            f"The key {key_name!r} lacks the scope '{scope}', which this operation needs. Use a key that has it."
        )
        self.scope = str(scope)
        self.headers = {"www-authenticate": f'{CHALLENGE}, error="insufficient_scope", scope="{scope}"'}


class ServiceReadOnly(Exception):
    """The service is read-only, and the request would change something."""

    def __init__(self) -> None:
        super().__init__(
            "This service runs with OCR_READ_ONLY=true and changes nothing. Use another service for changes."
        )


class BodyTooLarge(Exception):
    """The request's body is larger than the limit."""

    def __init__(self, limit_bytes: int, setting: str = "OCR_MAX_BODY_BYTES") -> None:
        super().__init__(f"The request's body is larger than the limit of {limit_bytes} bytes ({setting}). Send less.")
        self.limit_bytes = limit_bytes


class PlanChanged(Exception):
    """The plan to execute is outdated: the models or the request have changed since the dry run."""

    def __init__(self, plan_id: str) -> None:
        super().__init__(
            f"Since the plan {plan_id!r} was made, a model was added, changed or removed, or the request differs from "
            "its dry run. Nothing was deleted. Make a new dry run and check it."
        )
        self.plan_id = plan_id


class TextTooLong(Exception):
    """A text is longer than a model can read at once."""

    def __init__(self, index: int, size_bytes: int, limit_bytes: int, what: str) -> None:
        super().__init__(
            f"{what} of texts[{index}] has {size_bytes} bytes in UTF-8; the limit for one call is {limit_bytes}. Send "
            "the text in parts."
        )
        self.index = index
        self.size_bytes = size_bytes
        self.limit_bytes = limit_bytes


class RangeNotSatisfiable(Exception):
    """The requested range begins after the end of the model."""

    def __init__(self, size_bytes: int) -> None:
        super().__init__(
            f"The model has {size_bytes} bytes, and the range begins after them. Ask for a range within the model, or "
            "leave Range out."
        )
        self.size_bytes = size_bytes
        self.headers = {"content-range": f"bytes */{size_bytes}"}


class CallerGone(Exception):
    """The caller closed the connection while its request was processed."""

    def __init__(self) -> None:
        super().__init__("The caller closed the connection, so its work was stopped. Only the log shows this problem.")


class UploadsBusy(Exception):
    """The limit of simultaneous uploads is reached."""

    def __init__(self, limit: int) -> None:
        super().__init__(
            f"{limit} uploads are running, which is the limit (OCR_MAX_UPLOADS). Try again when one has finished."
        )
        self.limit = limit


class TooManyUnfinishedUploads(Exception):
    """The limit of unfinished resumable uploads is reached."""

    def __init__(self, limit: int, setting: str, whose: str) -> None:
        super().__init__(
            f"{whose} {limit} unfinished uploads, which is the limit ({setting}). Finish or cancel some: GET /uploads "
            "lists them, DELETE /uploads/{id} cancels one. Each expires OCR_PARTIAL_RETENTION after its last byte."
        )
        self.limit = limit


class UploadStalled(Exception):
    """No bytes of a body arrived within the time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"No bytes of the body arrived for {seconds:g} s (OCR_UPLOAD_STALL_TIMEOUT). {KEPT}")
        self.headers = {"connection": "close"}


class BodyCutShort(Exception):
    """The connection closed before the end of the body."""

    def __init__(self) -> None:
        super().__init__(f"The connection closed before the end of the body. {KEPT}")


class UnsupportedBody(Exception):
    """The body is encoded, is a form where a plain file is expected, or is not announced as JSON."""

    def __init__(self, what: str, advice: str = AS_A_FILE) -> None:
        super().__init__(f"The body is {what}. {advice}")
        self.headers: dict[str, str] = {}

    @classmethod
    def encoded(cls, coding: str) -> "UnsupportedBody":
        """Return the error for a body with a Content-Encoding."""
        error = cls(f"encoded ({coding})", "Send it unencoded, without Content-Encoding.")
        error.headers = {"accept-encoding": "identity"}
        return error


class PartialBody(Exception):
    """The request has a `Content-Range`: its body is only a part of the content."""

    def __init__(self) -> None:
        super().__init__(
            "The body is only a part of a file (Content-Range). Send the whole file; to send a model in parts, use "
            "POST /uploads."
        )


class ExpectationFailed(Exception):
    """The `Expect` header names an expectation that the service does not support."""

    def __init__(self) -> None:
        super().__init__("The service supports no value of Expect except 100-continue. Leave Expect out.")


class UnsupportedTus(Exception):
    """The request uses an unsupported version of tus."""

    def __init__(self, version: str) -> None:
        super().__init__(f"tus {version!r} is not supported. Use 1.0.0.")
        self.headers = {"tus-version": "1.0.0"}


class OffsetMismatch(Exception):
    """The chunk does not begin at the upload's offset."""

    def __init__(self, offset: int) -> None:
        super().__init__(
            f"The upload's offset is {offset}, and the chunk begins elsewhere. Send the bytes from that offset on."
        )
        self.offset = offset


class ChecksumMismatch(Exception):
    """The chunk does not have the checksum of its `Upload-Checksum`."""

    def __init__(self, algorithm: str) -> None:
        super().__init__(
            f"The {algorithm} of the chunk differs from its Upload-Checksum. The chunk was discarded; send it again."
        )
        self.algorithm = algorithm


class UnsupportedChecksum(Exception):
    """The `Upload-Checksum` names an algorithm that is not supported."""

    def __init__(self, algorithms: str) -> None:
        super().__init__(f"The algorithm of Upload-Checksum is not supported. Use one of {algorithms}.")


class NotAcceptable(Exception):
    """The answer is available in none of the formats that the caller accepts."""

    def __init__(self, formats: str) -> None:
        super().__init__(f"The answer can be {formats}. Name one of them in Accept, or leave Accept out for JSON.")


class UnsupportedForm(Exception):
    """The form has no usable file."""

    def __init__(self, reason: str, field: str = "file") -> None:
        several = "; for a job, several such fields" if field == "file" else ""
        super().__init__(f"The form cannot be used: {reason}. Send one file in a field {field!r}{several}.")


class UnsupportedArchive(Exception):
    """A ZIP archive for a job has no files, or is beyond a limit."""

    def __init__(
        self, name: str | None, reason: str, advice: str = "Send its files in fields 'file' of a form, or fewer of them"
    ) -> None:
        which = f"The ZIP archive {name!r}" if name else "The ZIP archive"
        super().__init__(f"{which} cannot be used: {reason}. {advice}.")


class WrongHost(Exception):
    """The request is for a host name that this service does not have."""

    def __init__(self, host: str) -> None:
        super().__init__(
            f"This service does not answer for the host {host!r}. Add the host to OCR_ALLOWED_HOSTS to allow it."
        )


class CrossOrigin(Exception):
    """A web page of an origin that may not use the service requests a change, or asks for permission."""

    def __init__(self, origin: str) -> None:
        super().__init__(
            f"Pages of {origin} may not use this service. Call from a program or from this service's docs page, or add "
            "the page's origin to OCR_CORS_ORIGINS."
        )
