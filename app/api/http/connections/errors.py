"""Errors of the connection or the process, which no route raises, and their problems."""

from app.api.http.problem_types import ProblemType

CLOSING = {"connection": "close"}


class InvalidHttp(Exception):
    """The bytes are not a valid HTTP/1.1 request."""

    def __init__(self, reason: str, advice: str = "Send HTTP/1.1 with a percent-encoded path and one Host.") -> None:
        super().__init__(f"{reason} {advice}")
        self.headers = CLOSING


class HeadTooLarge(Exception):
    """The request line and the headers, or the trailers after a body, exceed a limit."""

    def __init__(self, limit: str) -> None:
        super().__init__(f"The head of the request, or the trailers after its body, have more than {limit}. Send less.")
        self.headers = CLOSING


class HeadTimedOut(Exception):
    """The head of a request did not arrive within the time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(
            f"The request line and headers did not arrive within {seconds:g} s (OCR_HEAD_TIMEOUT). Send them at once."
        )
        self.headers = CLOSING


class BodyTimedOut(Exception):
    """The body of a request without a file did not arrive within the time limit."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"The body did not arrive within {seconds:g} s (OCR_BODY_TIMEOUT). Send the request again.")
        self.headers = CLOSING


class TooManyConnections(Exception):
    """The limit of connections is reached, and each connection has a running request."""

    def __init__(self) -> None:
        super().__init__(
            "The service has as many connections as it accepts (OCR_MAX_CONNECTIONS, and half of the process's limit "
            "of open files), and each has a running request. Try again later."
        )
        self.headers = CLOSING


class ShuttingDown(Exception):
    """The service shuts down: it interrupted the request, or will take no more requests soon."""

    def __init__(
        self,
        detail: str = "The service is shutting down and ended the request before it was complete. Send it again: "
        "another service or the restarted one answers it. An upload to /uploads keeps the bytes received.",
    ) -> None:
        super().__init__(detail)
        self.headers = CLOSING

    @classmethod
    def soon(cls) -> "ShuttingDown":
        """Return the error by which a service that still answers requests says that it will shut down."""
        return cls("The service will shut down soon (OCR_DRAIN_TIME). Send new requests to another service.")


class OutOfResources(Exception):
    """The process has no free file descriptor, memory or thread at the moment."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"The service lacks a resource of the operating system at the moment: {cause}. Try again; if this "
            "continues, raise the limit of the process or of the container."
        )


CONNECTION_PROBLEMS = (
    ProblemType(InvalidHttp("Invalid HTTP request received."), 400, "invalid-http", "The request is not valid HTTP"),
    ProblemType(HeadTooLarge("65536 bytes"), 431, "head-too-large", "The head of the request is too large"),
    ProblemType(HeadTimedOut(20), 408, "head-timed-out", "The head of the request did not arrive in time"),
    ProblemType(BodyTimedOut(60), 408, "body-timed-out", "The body of the request did not arrive in time"),
    ProblemType(TooManyConnections(), 503, "too-many-connections", "Too many connections at once", (), 5),
    ProblemType(ShuttingDown(), 503, "shutting-down", "The service is shutting down", (), 5),
    ProblemType(OutOfResources("Too many open files"), 503, "out-of-resources", "A resource is used up", (), 5),
)
