"""The scenarios: what two services on one folder must do on any file system. Each function is a row of the table.

Scenarios use only HTTP, so the services can be on any machine. `accounting` and `exact` have the scenarios about lost
models.
"""

import hashlib
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import Any

import httpx

from tests.support.crash.labelled import content_of
from tests.support.crash.labelled_hub import path_of
from tests.support.waiting import USUAL_SECONDS, Deadline, eventually
from tests.volumes.asking import (
    SEEN_SECONDS,
    Pair,
    Result,
    alternating,
    ask,
    delete,
    listed,
    restore,
    row,
    succeed,
    upload,
    upload_to_both,
)

ROUNDS = 20
DELETES = 64
PUTS = 8
RESTORES = 4
PULLED_BYTES = 20_000_000
PULL_SECONDS = 90.0
SLOWEST_SECONDS = 3.0
"""How long a new file may take to be listed: polling takes a second, and a client's cache another."""
TWO_SWEEPS_SECONDS = 11.0

HoldLease = Callable[[str], AbstractContextManager[None]]


@row("a new file shows, median / worst s")
def new_file_shows(pair: Pair, result: Result, *, rounds: int = ROUNDS) -> None:
    """A model that is uploaded through A is soon in the list of B."""
    seconds = []
    for number in range(rounds):
        name = pair.name(number)
        succeed(upload(pair.a, name))
        began, soon = time.monotonic(), Deadline(SLOWEST_SECONDS)
        try:
            eventually(lambda name=name: name in listed(pair.b), within=SEEN_SECONDS)
        except AssertionError:
            result.violations.append(f"{name} does not show in {SEEN_SECONDS:g} s")
            result.text = f"not in {SEEN_SECONDS:g} s"
            return
        seconds.append(time.monotonic() - began)
        result.check(not soon.is_over, f"a new file showed only after {seconds[-1]:.2f} s")
    result.counts = {"median": statistics.median(seconds), "worst": max(seconds)}
    result.text = f"{statistics.median(seconds):.2f} / {max(seconds):.2f}"


@row("64 DELETEs: rounds with exactly one 200")
def one_deletion_wins(pair: Pair, result: Result, *, rounds: int = ROUNDS) -> None:
    """Of many simultaneous deletions of one model exactly one succeeds; the others answer 404, 409 or 503."""
    wins: list[int] = []
    for number in range(rounds):
        name = pair.name(number)
        upload_to_both(pair, name)
        answers = alternating(pair, DELETES, lambda client, _, name=name: delete(client, name))
        result.check_statuses(answers, 200, 404, 409, 503)
        wins.append(_count(answers, 200))
    _report_winners(result, wins)


@row("PUT If-None-Match: rounds with exactly one 201")
def one_creation_wins(pair: Pair, result: Result, *, rounds: int = ROUNDS) -> None:
    """Of many simultaneous uploads that create one name exactly one succeeds."""
    wins: list[int] = []
    for number in range(rounds):

        def create(client: httpx.Client, each: int, name: str = pair.name(number)) -> httpx.Response:
            return upload(client, name, content_of(f"{name}/{each}", 4096), if_none_match="*")

        answers = alternating(pair, PUTS, create)
        result.check_statuses(answers, 201, 409, 412, 503)
        wins.append(_count(answers, 201))
    _report_winners(result, wins)


@row("PUT If-Match, same etag and size: rounds with exactly one 2xx")
def one_replacement_wins(pair: Pair, result: Result, *, rounds: int = ROUNDS) -> None:
    """Of many simultaneous replacements of one version exactly one succeeds, and the model has its content."""
    wins: list[int] = []
    for number in range(rounds):
        name = pair.name(number)
        etag = upload_to_both(pair, name)
        contents = [content_of(f"{name}/{each}", 4096) for each in range(PUTS)]

        def replace(client: httpx.Client, each: int, name: str = name, etag: str = etag) -> httpx.Response:
            return upload(client, name, contents[each], if_match=etag)  # noqa: B023 - called in this round

        answers = alternating(pair, PUTS, replace)
        result.check_statuses(answers, 200, 409, 412, 503)
        winners = [each for each, answer in enumerate(answers) if answer.is_success]
        wins.append(len(winners))
        if len(winners) == 1:
            result.check(_has(pair, name, contents[winners[0]]), f"{name} is not the winner's content")
    _report_winners(result, wins)


@row("a lease at A, DELETE at B")
def lease_is_heeded(pair: Pair, result: Result, hold_lease: HoldLease) -> None:
    """A model that is leased at A is not deleted through B until the lease ends."""
    name = pair.name("leased")
    upload_to_both(pair, name)
    with hold_lease(name):
        answer = delete(pair.b, name)
    result.text = str(answer.status_code)
    result.check_statuses([answer], 409)
    if answer.status_code == 409:
        eventually(lambda: delete(pair.b, name).status_code == 200, within=SEEN_SECONDS)


@row("protect at A, DELETE at B at once: rounds with 403")
def protection_is_seen_at_once(pair: Pair, result: Result, *, rounds: int = ROUNDS // 2) -> None:
    """A protection at A prevents a deletion at B as soon as A has answered."""
    answers = []
    for number in range(rounds):
        name = pair.name(number)
        upload_to_both(pair, name)
        succeed(ask(pair.a, "PUT", f"/models/{name}/protection", json={"reason": "it is needed"}))
        answers.append(delete(pair.b, name))
    result.check_statuses(answers, 403)
    result.text = f"{_count(answers, 403)}/{rounds}"


@row("restore on both: rounds with exactly one 200")
def one_restore_wins(pair: Pair, result: Result, *, rounds: int = ROUNDS) -> None:
    """Of several simultaneous restores of one entry exactly one succeeds, and the model stays after two sweeps."""
    wins: list[int] = []
    names = [pair.name(number) for number in range(rounds)]
    for name in names:
        upload_to_both(pair, name)
        trash_id = succeed(delete(pair.a, name)).json()["trash_id"]
        answers = alternating(pair, RESTORES, lambda client, _, trash_id=trash_id: restore(client, trash_id))
        result.check_statuses(answers, 200, 404, 409, 503)
        wins.append(_count(answers, 200))
    time.sleep(TWO_SWEEPS_SECONDS)
    gone = [name for name in names if not _has(pair, name, content_of(name, 4096))]
    _report_winners(result, wins)
    result.check(not gone, f"{len(gone)} of {rounds} models are not there afterwards")
    result.text += f", {len(gone)} gone" if gone else ""


@row("a pull is taken over after kill -9")
def pull_is_taken_over(pair: Pair, result: Result, hub_url: str, kill_a: Callable[[], None]) -> None:
    """When A is killed, B finishes its pull. `hub_url` is the CDN of a LabelledHub that both services reach."""
    name = pair.name("pulled")
    url = hub_url + path_of(name, PULLED_BYTES, is_quick=False)
    job = succeed(ask(pair.a, "POST", "/pulls", json={"url": url, "name": name})).json()["id"]
    eventually(lambda: (_job(pair.a, job) or {"progress": {"done": 0}})["progress"]["done"], within=SEEN_SECONDS)

    kill_a()
    began = time.monotonic()
    try:
        ended = eventually(
            lambda: now if (now := _job(pair.b, job)) and now["finished_at"] else None, within=PULL_SECONDS
        )
    except AssertionError:
        result.text = f"not in {PULL_SECONDS:g} s"
        result.violations.append(f"the pull is not finished {result.text}")
        return
    result.counts = {"seconds": time.monotonic() - began}
    result.text = f"{result.counts['seconds']:.1f} s"
    result.check(ended["state"] == "succeeded", f"the pull ended as {ended}")
    result.check(_has(pair, name, content_of(name, PULLED_BYTES), of="b"), "the model is not what the hub has")


@row("journal lines / changes")
def journal_is_whole(pair: Pair, result: Result, *, changes: int = 400) -> None:
    """Each acknowledged change has one whole line in the journal, although both services write it at once."""
    acknowledged: Counter[tuple[str, str]] = Counter()
    for batch in range(changes // (2 * PUTS)):
        names = [pair.name(f"{batch}-{each}") for each in range(PUTS)]
        came = alternating(pair, PUTS, lambda client, each, names=names: upload(client, names[each]))
        acknowledged.update(("uploaded", name) for name, each in zip(names, came, strict=True) if each.is_success)
        went = alternating(pair, PUTS, lambda client, each, names=names: delete(client, names[each]))
        acknowledged.update(("trashed", name) for name, each in zip(names, went, strict=True) if each.is_success)
        result.check_statuses([*came, *went], 200, 201, 404, 409, 503)
    # A line that could not be written at once waits in the memory of its service until it can.
    with suppress(AssertionError):
        eventually(lambda: not acknowledged - _journal(pair)[0], within=USUAL_SECONDS)
    written, broken = _journal(pair)
    missing = acknowledged - written
    result.counts = {"lines": (acknowledged & written).total(), "changes": acknowledged.total(), "broken": broken}
    result.check(not missing, f"{missing.total()} of {acknowledged.total()} changes have no line")
    result.check(not broken, f"{broken} lines are broken")
    result.check(acknowledged.total() >= changes // 2, f"only {acknowledged.total()} changes were acknowledged")
    result.text = f"{(acknowledged & written).total()}/{acknowledged.total()}" + (
        f", {broken} broken" if broken else ""
    )


def _job(client: httpx.Client, job: str) -> dict[str, Any] | None:
    """Return a job as a service shows it; None if it does not see the job yet."""
    answer = client.get(f"/pulls/{job}")
    return dict(answer.json()) if answer.is_success else None


def _journal(pair: Pair) -> tuple[Counter[tuple[str, str]], int]:
    """Return the events by action and name, and the number of broken lines, which the services do not report."""
    if pair.behind is None:
        answer = succeed(pair.a.get("/journal", params={"limit": 1000}))
        return Counter((event["action"], event["name"]) for event in answer.json()["events"]), 0
    events, broken = [], 0
    for line in (pair.behind / ".store/journal.jsonl").read_bytes().splitlines():
        try:
            events.append(json.loads(line))
        except ValueError:
            broken += bool(line)  # an empty line separates a broken line from the next
    return Counter((event["action"], event["name"]) for event in events), broken


def _has(pair: Pair, name: str, content: bytes, *, of: str = "ab") -> bool:
    """Return True if a model has that content: on the disk if it is reachable, else by both services' verification."""
    if pair.behind:
        path = pair.behind / name
        return path.exists() and path.read_bytes() == content
    digest = hashlib.sha256(content).hexdigest()

    def is_said() -> bool:
        answers = [getattr(pair, which).post(f"/models/{name}/verify") for which in of]
        return all(answer.is_success and answer.json()["sha256"] == digest for answer in answers)

    try:
        return eventually(is_said, within=SEEN_SECONDS)
    except AssertionError:
        return False


def _report_winners(result: Result, wins: list[int]) -> None:
    rounds, right = len(wins), wins.count(1)
    none, several = wins.count(0), sum(each > 1 for each in wins)
    result.counts = {"rounds": rounds, "one": right, "none": none, "several": several}
    result.check(not several, f"{several} of {rounds} rounds have several winners")
    result.check(not none, f"{none} of {rounds} rounds have no winner")
    result.text = f"{right}/{rounds}" + (f", {several} with several" if several else "")
    result.text += f", {none} with none" if none else ""


def _count(answers: list[httpx.Response], status: int) -> int:
    return sum(answer.status_code == status for answer in answers)
