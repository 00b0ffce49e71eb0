"""Sends requests to a running service, and turns its problems into errors in the words of the command line."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NoReturn
from urllib.parse import quote

import httpx

from app import __version__
from app.api.http.schema import Schema, wrong_members
from app.cli.backends.base import Json
from app.cli.wording import in_commands
from app.errors import ServiceError
from app.errors.pulls import without_errno
from app.store.names import parts_of
from app.terminal import visible

TIMES = httpx.Timeout(60, connect=10)
"""How long, in seconds, a service may take to answer a request that does no long work."""
LONG = httpx.Timeout(60, connect=10, read=None)
"""For requests whose work takes as long as it takes: uploads, verifications, loads, recognitions."""
CHUNK_BYTES = 1 << 20
MAX_ANSWER_BYTES = 1 << 30
"""The most bytes of an answer that is kept in memory, once decompressed. A server could send without an end."""
AGAIN_LATER = "Run the command again."
PROBLEM_PREFIX = "urn:ocr-model-service:problem:"


class RefusedByService(ServiceError):
    """A service has answered with a problem."""

    def __init__(self, problem: Json, sentence: str) -> None:
        super().__init__(sentence)
        self.slug: str = str(problem.get("type", "")).removeprefix(PROBLEM_PREFIX)
        self.status: int = problem.get("status", 0)
        self.name: str | None = problem.get("name")
        """The name of the model that the problem is about, if it is about one."""
        blockers = problem.get("blockers")
        self.blockers: list[Json] = [
            each for each in (blockers if isinstance(blockers, list) else []) if isinstance(each, dict)
        ]


class NoService(ServiceError):
    """No service answers at the URL, or what answers is none."""


class AnswerLost(ServiceError):
    """The request was sent, and its answer did not come."""

    def __init__(self, url: str, reason: str, *, is_change: bool) -> None:
        advice = "It is not known whether the change was made: look before you run the command again."
        super().__init__(
            f"The answer of the service at {url} did not come ({reason}). {advice if is_change else AGAIN_LATER}"
        )


class WrongAnswer(NoService):
    """What a server has answered has not the members that a service gives."""

    def __init__(self, problem: str, *, is_change: bool) -> None:
        unknown = " It is not known whether the change was made." if is_change else ""
        super().__init__(
            f"What answers at the URL is no OCR model service that this command knows: {problem}.{unknown} "
            "Correct --url or OCR_URL, or use the command of the service's version."
        )


class Answer(dict[str, Any]):
    """A JSON object of an answer. A member that is missing means that the server is no service of this version."""

    def __missing__(self, name: str) -> NoReturn:
        raise WrongAnswer(f"its answer has no {name!r}", is_change=False)


class ServiceClient:
    """One service, at a URL that may have a path prefix, and the key that it is asked with."""

    def __init__(self, url: str, key: str | None) -> None:
        """Raises ValueError if the URL is not one of a service."""
        if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url) or not _is_url(url):
            raise ValueError(f"{visible(url)} is not the URL of a service, such as http://127.0.0.1:8000")
        self.url = url.rstrip("/")
        headers = {"user-agent": f"ocr-models/{__version__}"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        # Reading the certificates takes a third of a short command's time. No redirect is followed, so a plain URL
        # never leads to TLS.
        self._client = httpx.Client(headers=headers, timeout=TIMES, verify=url.startswith("https"))

    def ask(self, method: str, path: str, *, is_long: bool = False, **request: Any) -> httpx.Response:  # noqa: ANN401
        """Send a request and return the answer. Raises RefusedByService and NoService.

        `request` has the arguments of `httpx.Client.request`.
        """
        try:
            timeout = LONG if is_long else TIMES
            with self._client.stream(method, self.url + path, timeout=timeout, **request) as incoming:
                answer = _whole(incoming, self.url)
        except httpx.RequestError as exc:
            raise _failure(exc, self.url, is_change=method != "GET") from None
        if answer.is_success:
            return answer
        raise _refusal(answer, self.url)

    def download(self, path: str) -> Iterator[bytes]:
        """Yield the body of an answer as it comes, and all of it. Raises what `ask` raises."""
        try:
            with self._client.stream("GET", self.url + path, headers={"accept-encoding": "identity"}) as answer:
                if not answer.is_success:
                    raise _refusal(_whole(answer, self.url), self.url)
                yield from answer.iter_bytes(CHUNK_BYTES)
        except httpx.RequestError as exc:
            raise _failure(exc, self.url, is_change=False) from None

    def get(self, path: str, schema: type[Schema], params: Mapping[str, Any] | None = None) -> Json:
        """Get a JSON object."""
        return self.json("GET", path, schema, params=dict(params or {}))

    def json(self, method: str, path: str, schema: type[Schema], **request: Any) -> Json:  # noqa: ANN401
        """Send a request and return the JSON object of the answer, whose members have the types of the schema."""
        answer = self.ask(method, path, **request)
        found = _parsed(answer.content, Answer)
        if not isinstance(found, Answer):
            raise NoService(f"What answers at {self.url} is no OCR model service. Correct --url or OCR_URL.")
        # A lone surrogate, which Python's parser accepts and pydantic's does not, is printed as an escape.
        text = json.dumps(found, ensure_ascii=False).encode(errors="replace")
        if wrong := wrong_members(schema, text):
            problem = f"{visible(wrong[0])!r} in its answer has another type"
            raise WrongAnswer(problem, is_change=method != "GET")
        return found


def path_of(*parts: str) -> str:
    """Return the path of a resource, whose parts may hold any characters; `/` within a part stays."""
    return "/" + "/".join(quote(part.encode(errors="surrogateescape")) for part in parts)


def model_path(name: str, *parts: str) -> str:
    """Return the path of a model, or of a part of it. Raises InvalidModelName for a name that no model can have.

    HTTP clients resolve `..` in a path before they send it: `../trash` would be another resource.
    """
    return path_of("models", *parts_of(name), *parts)


def query_of(values: Mapping[str, Any]) -> dict[str, str]:
    """Return query parameters: without those that are None, and truth values as the API writes them."""
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
        if value is not None
    }


def _is_url(text: str) -> bool:
    try:
        httpx.URL(text)
    except httpx.InvalidURL:
        return False
    return True


def _whole(incoming: httpx.Response, url: str) -> httpx.Response:
    """Read an answer to its end, and return it with the decompressed body. Raises NoService if it is too large."""
    body = bytearray()
    for data in incoming.iter_bytes():
        body += data
        if len(body) > MAX_ANSWER_BYTES:
            raise NoService(
                f"What answers at {url} has sent more than {MAX_ANSWER_BYTES:,} bytes, which no OCR model service "
                "does. Correct --url or OCR_URL."
            )
    return httpx.Response(incoming.status_code, content=bytes(body))


def _parsed(body: bytes, make: Callable[[dict[str, Any]], Any]) -> Any:  # noqa: ANN401 - any JSON value
    """Return the value of a JSON text, with each object made by `make`; None if the text is no JSON."""
    try:
        return json.loads(body, object_hook=make)
    except (ValueError, RecursionError):  # no JSON, or nested too deeply to be an answer of a service
        return None


def _failure(exc: httpx.RequestError, url: str, *, is_change: bool) -> ServiceError:
    reason = without_errno(str(exc)) or type(exc).__name__
    if isinstance(exc, httpx.ReadError | httpx.ReadTimeout | httpx.RemoteProtocolError | httpx.DecodingError):
        return AnswerLost(url, reason, is_change=is_change)
    return NoService(
        f"No service answers at {url} ({reason}). Start one with `ocr-models serve`, or correct --url or OCR_URL."
    )


def _refusal(answer: httpx.Response, url: str) -> ServiceError:
    problem = _parsed(answer.content, dict)
    if not isinstance(problem, dict) or not str(problem.get("type")).startswith(PROBLEM_PREFIX):
        return NoService(
            f"What answers at {url} is no OCR model service: it answered {answer.status_code} without a problem that "
            "this command knows. Correct --url or OCR_URL, or ask the operator of the proxy there."
        )
    return RefusedByService(problem, in_commands(str(problem.get("detail") or problem.get("title"))))
