"""What all scenarios need: two services by their URLs alone, a result with what is wrong, and calls all at once."""

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
"""How the type ends of a refusal to change a folder whose locks do not reach its other mounts."""
SEEN_SECONDS = 25.0
"""How long a change may take to show through the other mount before a scenario gives up; SSHFS keeps lists for 20."""
SIZE_BYTES = 4096


class RefusedAsUnsafe(Exception):
    """A service refuses changes because the folder's locks do not reach other mounts."""


@dataclass
class Result:
    """One cell of the table."""

    row: str
    text: str = ""
    counts: dict[str, float] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    is_refused: bool = False

    def insist(self, holds: bool, violation: str) -> None:  # noqa: FBT001 - reads as an assertion
        """Note what is wrong where something does not hold."""
        if not holds:
            self.violations.append(violation)

    def insist_on_statuses(self, answers: Iterable[httpx.Response], *allowed: int) -> None:
        """Note every answer with another status, those of one kind together."""
        wrong = [answer for answer in answers if answer.status_code not in allowed]
        for kind, count in Counter(map(describe, wrong)).items():
            self.violations.append(f"{count} x {kind}")


@dataclass(frozen=True)
class Pair:
    """Two services on one folder. How they were started, and on which machines, is nothing to a scenario."""

    a: httpx.Client
    b: httpx.Client
    behind: Path | None = None
    """The folder without any client's cache, where it can be reached."""
    prefix: str = field(default_factory=lambda: secrets.token_hex(3))
    """Of all names, so that a folder may be used again."""

    def name(self, number: object) -> str:
        """A model's name of this run's own."""
        return f"{self.prefix}-{number}.bin"

    @property
    def both(self) -> tuple[httpx.Client, httpx.Client]:
        """The two."""
        return self.a, self.b


Scenario = Callable[Concatenate[Pair, P], Result]


def row(name: str) -> Callable[[Callable[Concatenate[Pair, Result, P], None]], Scenario[P]]:
    """Make a scenario of a function that fills its result; one that is refused as unsafe, or stopped, says so."""

    def decorate(fill: Callable[Concatenate[Pair, Result, P], None]) -> Scenario[P]:
        def scenario(pair: Pair, /, *args: P.args, **kwargs: P.kwargs) -> Result:
            result = Result(name)
            try:
                fill(pair, result, *args, **kwargs)
            except RefusedAsUnsafe:
                return Result(name, "refused", is_refused=True)
            except (AssertionError, httpx.TransportError) as exc:
                result.text = "no answer" if isinstance(exc, httpx.TransportError) else "stopped"
                result.violations.append(f"it was stopped by {type(exc).__name__}: {str(exc)[:300]}")
            return result

        scenario.__name__, scenario.__doc__ = fill.__name__, fill.__doc__
        return scenario

    return decorate


def ask(client: httpx.Client, method: str, path: str, **about: Any) -> httpx.Response:
    """One request; raises RefusedAsUnsafe."""
    answer = client.request(method, path, **about)
    if answer.status_code == 503 and str(kind_of(answer)).endswith(UNSAFE):
        raise RefusedAsUnsafe(describe(answer))
    return answer


def upload(client: httpx.Client, name: str, content: bytes = b"", **headers: str) -> httpx.Response:
    """PUT a model; without content it has one that no other has."""
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return ask(client, "PUT", f"/models/{name}", content=content or content_of(name, SIZE_BYTES), headers=named)


def bring_in(pair: Pair, name: str) -> str:
    """PUT a model at A, wait until B knows it, and return its etag as B has it."""
    succeed(upload(pair.a, name))
    return str(eventually(lambda: seen(pair.b, name), within=SEEN_SECONDS)["etag"])


def delete(client: httpx.Client, name: str) -> httpx.Response:
    """DELETE a model."""
    return ask(client, "DELETE", f"/models/{name}")


def restore(client: httpx.Client, trash_id: str) -> httpx.Response:
    """Bring it back."""
    return ask(client, "POST", f"/trash/{trash_id}/restore")


def seen(client: httpx.Client, name: str) -> dict[str, Any] | None:
    """What a service says of a model now."""
    answer = client.get(f"/models/{name}")
    return dict(answer.json()) if answer.status_code == 200 else None


def listed(client: httpx.Client) -> set[str]:
    """The names that a service lists."""
    return {model["name"] for model in succeed(client.get("/models")).json()["models"]}


def in_trash(client: httpx.Client) -> set[str]:
    """The entries of the trash that a service lists."""
    return {entry["id"] for entry in succeed(client.get("/trash")).json()["entries"]}


def succeed(answer: httpx.Response) -> httpx.Response:
    """Insist on a success, which is no part of what a scenario asks about."""
    assert answer.is_success, describe(answer)
    return answer


def describe(answer: httpx.Response) -> str:
    """A status, and why."""
    return f"{answer.status_code} {kind_of(answer) or ''}".strip()


def kind_of(answer: httpx.Response) -> str | None:
    """The type of a problem."""
    if "problem" not in answer.headers.get("content-type", ""):
        return None
    return str(answer.json().get("type"))


def together(calls: Sequence[Callable[[], httpx.Response]]) -> list[httpx.Response]:
    """Make all calls at one moment, and return the answers in the calls' order; raises RefusedAsUnsafe."""
    start = threading.Barrier(len(calls))

    def at_once(call: Callable[[], httpx.Response]) -> httpx.Response:
        start.wait()
        return call()

    with ThreadPoolExecutor(len(calls)) as threads:
        return list(threads.map(at_once, calls))


def alternating(pair: Pair, count: int, call: Callable[[httpx.Client, int], httpx.Response]) -> list[httpx.Response]:
    """The same call so many times at one moment, half at A and half at B; it is given its number."""
    return together([functools.partial(call, pair.both[number % 2], number) for number in range(count)])
