"""The parts that all scenarios share: two services by their URLs, results with violations, simultaneous requests."""

import functools
import secrets
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

import httpx

from tests.support.crash.labelled import content_of
from tests.support.waiting import eventually

P = ParamSpec("P")
UNSAFE = "store-unsafe"
"""The last part of the problem type by which a service refuses to change a folder whose locks are not shared."""
SEEN_SECONDS = 25.0
"""How long a scenario waits for a change to show through the other mount; SSHFS caches lists for 20 s."""
SIZE_BYTES = 4096


class RefusedAsUnsafe(Exception):
    """A service refuses changes because the folder's locks do not reach its other mounts."""


@dataclass
class Result:
    """The result of one case on one file system: a cell of the table."""

    row: str
    text: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    is_refused: bool = False

    def check(self, holds: bool, violation: str) -> None:  # noqa: FBT001 - reads like an assertion
        """Add a violation unless a condition holds."""
        if not holds:
            self.violations.append(violation)

    def check_statuses(self, answers: Iterable[httpx.Response], *allowed: int) -> None:
        """Add a violation for each kind of answer whose status is not allowed."""
        wrong = [answer for answer in answers if answer.status_code not in allowed]
        for kind, count in Counter(map(describe, wrong)).items():
            self.violations.append(f"{count} x {kind}")


@dataclass(frozen=True)
class Pair:
    """Two services on one folder. A scenario does not know how they were started, or on which machines."""

    a: httpx.Client
    b: httpx.Client
    behind: Path | None = None
    """The folder without any client's cache; None if it cannot be reached."""
    prefix: str = field(default_factory=lambda: secrets.token_hex(3))
    """The prefix of all names of this run, so that a folder can be used again."""
    logs: Callable[[], str] = str
    """Returns what both services have logged; nothing if their logs cannot be reached."""

    def name(self, number: object) -> str:
        """Return a model name that only this run uses."""
        return f"{self.prefix}-{number}.bin"

    @property
    def both(self) -> tuple[httpx.Client, httpx.Client]:
        """Both services."""
        return self.a, self.b


Scenario = Callable[Concatenate[Pair, P], Result]


def row(name: str) -> Callable[[Callable[Concatenate[Pair, Result, P], None]], Scenario[P]]:
    """Return a decorator that makes a scenario of a function which fills its result.

    If the scenario is refused as unsafe, its result is `refused`. An error that stops the scenario becomes a violation.
    """

    def decorate(fill: Callable[Concatenate[Pair, Result, P], None]) -> Scenario[P]:
        def scenario(pair: Pair, /, *args: P.args, **kwargs: P.kwargs) -> Result:
            result = Result(name)
            try:
                fill(pair, result, *args, **kwargs)
            except RefusedAsUnsafe:
                return Result(name, "refused", is_refused=True)
            except (AssertionError, httpx.TransportError) as exc:
                result.text = "no answer" if isinstance(exc, httpx.TransportError) else "stopped"
                result.violations.append(f"stopped by {type(exc).__name__}: {str(exc)[:300]}")
            return result

        scenario.__name__, scenario.__doc__ = fill.__name__, fill.__doc__
        return scenario

    return decorate


def ask(client: httpx.Client, method: str, path: str, **about: Any) -> httpx.Response:
    """Send a request and return the answer. Raises RefusedAsUnsafe."""
    answer = client.request(method, path, **about)
    if answer.status_code == 503 and str(problem_type_of(answer)).endswith(UNSAFE):
        raise RefusedAsUnsafe(describe(answer))
    return answer


def upload(client: httpx.Client, name: str, content: bytes = b"", **headers: str) -> httpx.Response:
    """PUT a model. Without `content` the content is derived from the name."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return ask(client, "PUT", f"/models/{name}", content=content or content_of(name, SIZE_BYTES), headers=named)


def upload_to_both(pair: Pair, name: str) -> str:
    """PUT a model at A, wait until B shows it, and return the ETag that B shows."""
    succeed(upload(pair.a, name))
    return str(eventually(lambda: seen(pair.b, name), within=SEEN_SECONDS)["etag"])


def delete(client: httpx.Client, name: str) -> httpx.Response:
    """DELETE a model."""
    return ask(client, "DELETE", f"/models/{name}")


def restore(client: httpx.Client, trash_id: str) -> httpx.Response:
    """Restore an entry of the trash."""
    return ask(client, "POST", f"/trash/{trash_id}/restore")


def seen(client: httpx.Client, name: str) -> dict[str, Any] | None:
    """Return what a service shows of a model; None if it shows none."""
    answer = client.get(f"/models/{name}")
    return dict(answer.json()) if answer.status_code == 200 else None


def listed(client: httpx.Client) -> set[str]:
    """Return the names that a service lists."""
    return {model["name"] for model in succeed(client.get("/models")).json()["models"]}


def in_trash(client: httpx.Client) -> set[str]:
    """Return the ids of the trash entries that a service lists."""
    return {entry["id"] for entry in succeed(client.get("/trash")).json()["entries"]}


def succeed(answer: httpx.Response) -> httpx.Response:
    """Return the answer. Fails unless its status is a success."""
    assert answer.is_success, describe(answer)
    return answer


def describe(answer: httpx.Response) -> str:
    """Return an answer's status and problem type."""
    return f"{answer.status_code} {problem_type_of(answer) or ''}".strip()


def problem_type_of(answer: httpx.Response) -> str | None:
    """Return the problem type of an answer; None if it is no problem."""
    if "problem" not in answer.headers.get("content-type", ""):
        return None
    return str(answer.json().get("type"))


def together(calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """Make all calls at the same time and return the answers in the calls' order. Raises RefusedAsUnsafe."""
    start = threading.Barrier(len(calls))

    def at_once(call: Callable[[], httpx.Response]) -> httpx.Response:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(at_once, calls))


def alternating(pair: Pair, count: int, call: Callable[[httpx.Client, int], httpx.Response]) -> list[httpx.Response]:
    """Make a call `count` times at the same time, alternately at A and B, and return the answers.

    The call gets the service and its own number.
    """
    return together([functools.partial(call, pair.both[number % 2], number) for number in range(count)])
