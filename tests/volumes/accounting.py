"""Changes a folder at random through both services while they sweep, then checks that no acknowledged upload is lost.

Every upload has its own size, which identifies it in lists, in the journal and on the disk.
"""

import json
import random
import threading
import time
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import httpx

from tests.support.crash.labelled import HEAD_BYTES, content_of
from tests.support.waiting import eventually
from tests.volumes.asking import (
    Pair,
    RefusedAsUnsafe,
    Result,
    ask,
    delete,
    describe,
    restore,
    row,
    seen,
    succeed,
    upload,
)

WORKERS = 16
NAMES = 6
"""The names of each worker. New models use the names of deleted and restored ones."""
SHARED_NAMES = 4
SHARED_SHARE = 0.1
LONGEST_REST_SECONDS = 0.6
KEPT_ENTRIES = 8
"""How many trash entries each worker keeps. It purges older ones, so that a sweep stays short."""
SETTLE_SECONDS = 11.0
"""The time of two sweeps of each service."""
GONE = ("purged", "deleted")
MOST_EVENTS = 1000


@dataclass
class Books:
    """The acknowledged changes, by the size of the upload."""

    uploads: dict[int, str] = field(default_factory=dict)
    """The label of each acknowledged upload."""
    purged: set[int] = field(default_factory=set)
    """The uploads whose purge was acknowledged."""
    journalled: set[int] = field(default_factory=set)
    """The uploads that the journal records as purged or deleted."""
    trash_ids: dict[int, str] = field(default_factory=dict)
    """The trash entry of each upload whose purge was acknowledged."""
    history: dict[int, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)
    wrong: Counter[str] = field(default_factory=Counter)

    def note(self, size_bytes: int, what: str) -> None:
        """Record what was done to an upload."""
        self.history.setdefault(size_bytes, []).append(what)
        self.counts[what.split(" ", 1)[0]] += 1

    def has(self, content: bytes) -> bool:
        """Return True if a file's content is exactly that of an acknowledged upload."""
        label = self.uploads.get(len(content))
        return label is not None and content == content_of(label, len(content) - HEAD_BYTES)


class Worker:
    """Uploads, replaces, deletes, restores and purges models, each step through a random one of the two services."""

    def __init__(self, pair: Pair, books: Books, sizes: "count[int]", number: int) -> None:
        self._pair = pair
        self._books = books
        self._sizes = sizes
        self._chance = random.Random(number)  # noqa: S311 - to be the same each time
        self._own = [pair.name(f"{number}-{each}") for each in range(NAMES)]
        self._shared = [pair.name(f"shared-{each}") for each in range(SHARED_NAMES)]
        self._entries: deque[tuple[str, int]] = deque()

    def live(self, is_over: threading.Event) -> None:
        """Change models until `is_over` is set."""
        while not is_over.is_set():
            name = self._chance.choice(self._shared if self._chance.random() < SHARED_SHARE else self._own)
            try:
                self.one_life(name)
            except httpx.TimeoutException as exc:
                # A change that was not acknowledged may have happened or not; neither is a loss.
                self._books.wrong[f"{exc.request.method} without an answer"] += 1

    def one_life(self, name: str) -> None:
        """Upload a model, perhaps replace it, delete it, and perhaps restore it."""
        size_bytes = self._bring_in(name)
        self._back_off()
        if size_bytes and self._chance.random() < 0.3:
            self._replace(name)
            self._back_off()
        self._list()
        entry = self._delete(name)
        self._list()
        if entry and self._chance.random() < 0.3:
            if self._chance.random() < 0.5:
                self._back_off()
            self._restore(*entry)
        elif entry:
            self._entries.append(entry)
        if len(self._entries) > KEPT_ENTRIES:
            self._purge(*self._entries.popleft())
        self._back_off()

    def _bring_in(self, name: str) -> int | None:
        size_bytes = self._upload(name, if_none_match="*")
        return size_bytes or self._replace(name)

    def _replace(self, name: str) -> int | None:
        found = seen(self._one(), name)
        size_bytes = self._upload(name, if_match=found["etag"]) if found else None
        if found and size_bytes:
            self._books.note(found["size_bytes"], f"replaced by {size_bytes}")
        return size_bytes

    def _upload(self, name: str, **condition: str) -> int | None:
        size_bytes = next(self._sizes)
        label = f"{name}/{size_bytes}"
        which, client = self._chosen()
        try:
            answer = upload(client, name, content_of(label, size_bytes - HEAD_BYTES), **condition)
        except (httpx.ReadError, httpx.WriteError):
            # An upload that is refused before its body is read may end like this. It was not acknowledged.
            self._books.counts["reset"] += 1
            return None
        if not self._is_done(answer, 200, 201):
            return None
        self._books.uploads[size_bytes] = label
        self._books.note(size_bytes, f"uploaded at {which} ({', '.join(condition)})")
        return size_bytes

    def _delete(self, name: str) -> tuple[str, int] | None:
        which, client = self._chosen()
        answer = delete(client, name)
        if not self._is_done(answer, 200):
            return None
        receipt = answer.json()
        self._books.note(receipt["size_bytes"], f"deleted at {which}")
        return str(receipt["trash_id"]), int(receipt["size_bytes"])

    def _restore(self, trash_id: str, size_bytes: int) -> None:
        which, client = self._chosen()
        answer = restore(client, trash_id)
        if self._is_done(answer, 200):
            self._books.note(size_bytes, f"restored at {which}")
        else:
            self._entries.append((trash_id, size_bytes))
            self._books.history[size_bytes].append(f"not restored at {which}: {describe(answer)}")

    def _purge(self, trash_id: str, size_bytes: int) -> None:
        which, client = self._chosen()
        if self._is_done(ask(client, "DELETE", f"/trash/{trash_id}"), 200):
            self._books.purged.add(size_bytes)
            self._books.trash_ids[size_bytes] = trash_id
            self._books.note(size_bytes, f"purged at {which}")

    def _list(self) -> None:
        succeed(self._one().get("/models"))

    def _is_done(self, answer: httpx.Response, *statuses: int) -> bool:
        if answer.status_code >= 500 and answer.status_code != 503:
            self._books.wrong[f"{answer.request.method} {describe(answer)}"] += 1
        return answer.status_code in statuses

    def _chosen(self) -> tuple[str, httpx.Client]:
        which = self._chance.randrange(2)
        return "AB"[which], self._pair.both[which]

    def _one(self) -> httpx.Client:
        return self._chosen()[1]

    def _back_off(self) -> None:
        time.sleep(self._chance.uniform(0, LONGEST_REST_SECONDS))


@row("trashed models lost without a trace")
def nothing_is_lost(
    pair: Pair,
    result: Result,
    *,
    deletions: int,
    restores: int,
    is_journal_whole: bool = True,
    longest_seconds: float = 400.0,
) -> None:
    """Every acknowledged upload is a model or in the trash, unless an answer or the journal reports its removal.

    With `is_journal_whole` the journal must also have each removal that an answer reports.
    """
    books, sizes, is_over = Books(), count(2000), threading.Event()
    deadline = time.monotonic() + longest_seconds
    with ThreadPoolExecutor(WORKERS) as threads:
        living = [threads.submit(Worker(pair, books, sizes, number).live, is_over) for number in range(WORKERS)]
        try:
            while not _is_enough(books, deletions, restores) and time.monotonic() < deadline:
                _read_journal(pair, books)
                if any(worker.done() for worker in living):
                    break
                time.sleep(1)
        finally:
            is_over.set()
        result.is_refused = _is_refused(living)
    if result.is_refused and not books.uploads:
        raise RefusedAsUnsafe
    # Uploads that were acknowledged before the services found the folder unsafe must not be lost either.
    time.sleep(SETTLE_SECONDS)
    lost = _lost(pair, books)
    if is_journal_whole:
        _wait_for_late_lines(pair, books)
    _report(result, books, lost, pair, is_journal_whole=is_journal_whole)
    result.check(result.is_refused or _is_enough(books, deletions, restores), f"too slow: only {dict(books.counts)}")


def _is_refused(living: list[Future[None]]) -> bool:
    """Wait for all workers. Return True if one was refused as unsafe; raise what else stopped one."""
    refused = False
    for worker in living:
        try:
            worker.result()
        except RefusedAsUnsafe:
            refused = True
    return refused


def _is_enough(books: Books, deletions: int, restores: int) -> bool:
    return books.counts["deleted"] >= deletions and books.counts["restored"] >= restores


def _report(result: Result, books: Books, lost: set[int], pair: Pair, *, is_journal_whole: bool) -> None:
    silent = books.purged - books.journalled
    result.counts = {**books.counts, "uploads": len(books.uploads), "lost": len(lost), "unjournalled": len(silent)}
    result.text = f"{len(lost)}/{books.counts['deleted']}"
    for size_bytes in sorted(lost)[:5]:
        result.violations.append(f"lost {books.uploads[size_bytes]}: {'; '.join(books.history[size_bytes])}")
    result.check(not lost, f"lost {len(lost)} of {len(books.uploads)} uploads, {books.counts['deleted']} deletions")
    if is_journal_whole:
        for size_bytes in sorted(silent)[:5]:
            result.violations.append(
                f"not in the journal: {books.uploads.get(size_bytes)}: {'; '.join(books.history[size_bytes])}; "
                + "\n".join(["found instead:", *_traces_of(books.trash_ids[size_bytes], pair)])
            )
        result.check(not silent, f"{len(silent)} purges are not in the journal")
    result.violations += [f"{times} x {what}" for what, times in books.wrong.items()]


def _lost(pair: Pair, books: Books) -> set[int]:
    """Return the uploads that stay lost for 15 s; lists may be late."""
    lost = set(books.uploads)

    def all_found() -> bool:
        nonlocal lost
        _read_journal(pair, books)
        lost = set(books.uploads) - books.purged - books.journalled - _found(pair, books)
        return not lost

    try:
        eventually(all_found, within=15)
    except AssertionError:
        return lost
    return set()


def _wait_for_late_lines(pair: Pair, books: Books) -> None:
    """Wait for the lines of purges that could not be written at once: they wait in the memory of their service."""

    def has_each() -> bool:
        _read_journal(pair, books)
        return books.purged <= books.journalled

    with suppress(AssertionError):
        eventually(has_each)


def _found(pair: Pair, books: Books) -> set[int]:
    """Return the uploads that are models or in the trash: from the disk if it is reachable, else from both lists."""
    if pair.behind:
        models = [path for path in pair.behind.iterdir() if path.is_file()]
        trash = [path for path in (pair.behind / ".store/trash").iterdir() if path.suffix != ".json"]
        return {len(content) for path in (*models, *trash) if books.has(content := _content(path))}
    found = [_sizes(client.get("/models"), "models") | _sizes(client.get("/trash"), "entries") for client in pair.both]
    return found[0] & found[1]


def _content(path: Path) -> bytes:
    """Return a file's content; empty, as no upload is, if it has just been removed."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""


def _sizes(answer: httpx.Response, of: str) -> set[int]:
    return {each["size_bytes"] for each in succeed(answer).json()[of]}


def _read_journal(pair: Pair, books: Books) -> None:
    """Add the removals in the journal: from both services, which show 1,000 events, and from the disk if reachable."""
    events: list[dict[str, Any]] = []
    for client in pair.both:
        events += succeed(client.get("/journal", params={"limit": MOST_EVENTS})).json()["events"]
    if pair.behind:
        # The present file and every older one, which a rotation names journal.<time>-<random>.jsonl.
        for journal in (pair.behind / ".store").glob("journal*.jsonl"):
            events += filter(None, map(_event, _content(journal).splitlines()))
    books.journalled |= {event["size_bytes"] for event in events if event["action"] in GONE}


def _traces_of(trash_id: str, pair: Pair) -> list[str]:
    """Return what explains that a purge is not in the journal.

    These are the lines of the journal and of the logs with the trash entry's id, the lines of the journal that are no
    entries, and the lines of the logs about failures of the journal.
    """
    journals = [_content(path) for path in (pair.behind / ".store").glob("journal*.jsonl")] if pair.behind else []
    lines = [line for journal in journals for line in journal.splitlines() if line.strip()]
    written = [repr(line) for line in lines if trash_id.encode() in line or not _event(line)]
    return written + [line for line in pair.logs().splitlines() if trash_id in line or '"journal.' in line]


def _event(line: bytes) -> dict[str, Any] | None:
    try:
        return dict(json.loads(line))
    except ValueError:
        return None
