"""Writes and reads the journal of one model folder. Entries that cannot be written wait in memory until they can."""

import time
from collections import deque
from collections.abc import Generator
from contextlib import closing
from datetime import UTC, datetime
from itertools import islice

from app.errors import StoreError
from app.events import EventName, OnEvent
from app.store.actor import Actor
from app.store.aftermath import note_failure, unreported_failures
from app.store.journal.entries import ENTRY, Action, JournalEntry
from app.store.journal.files import JournalFiles
from app.store.locks.model_locks import ModelLocks
from app.store.records.forms import RecordDamaged
from app.store.volume.refusals import refusal_of
from app.store.volume.volume import Volume

MOST_WAITING = 10_000
"""How many entries wait in memory while the journal cannot be written. Beyond this number the oldest entries are
lost."""
CONFIRM_SECONDS = 5.0
"""How many seconds after a write on a shared volume it is checked that the journal has the line. Caches of clients last
a second or two."""


class Journal:
    """The journal of one model folder. Any number of processes may write to it."""

    def __init__(
        self,
        volume: Volume,
        locks: ModelLocks,
        on_event: OnEvent,
        files: JournalFiles | None = None,
        *,
        confirm_seconds: float = CONFIRM_SECONDS,
    ) -> None:
        self._confirm_seconds = confirm_seconds
        self._unconfirmed: deque[tuple[float, JournalEntry]] = deque(maxlen=MOST_WAITING)
        """The entries that were just written to a shared volume, each with the monotonic time of its write."""
        self._volume = volume
        self._files = files or JournalFiles(volume, locks)
        self._on_event = on_event
        self._waiting: deque[JournalEntry] = deque(maxlen=MOST_WAITING)
        self.problem: str | None = None
        """Why the last attempt to write the journal failed; None if it succeeded."""

    def record(
        self,
        actor: Actor,
        action: Action,
        name: str,
        trash_id: str | None,
        size_bytes: int,
        reason: str | None = None,
    ) -> None:
        """Report a change of a model as an event, and append it to the journal.

        `trash_id` is the model's entry in the trash, and `reason` says why the change was made if no caller asked for
        it. If the journal cannot be written, a second event reports that, the entry waits in memory for `retry`, and
        nothing is raised, because the change was made. If another step failed after the change, an event reports that
        failure too.
        """
        about = {"reason": reason, "request_id": actor.request_id, "address": actor.address}
        fields = {"name": name, "size_bytes": size_bytes, "actor": actor.name, "trash_id": trash_id}
        self._on_event(EventName(f"model.{action}"), fields | {key: value for key, value in about.items() if value})
        now, request_id = datetime.now(UTC), actor.request_id
        entry = JournalEntry(now, actor.name, action, name, trash_id, size_bytes, request_id, reason, actor.address)
        try:
            self.write(entry)
        except (OSError, StoreError) as exc:
            self._waiting.append(entry)
            self.problem = f"the last change could not be written to it: {_reason(exc)}"
            note_failure(f"the journal may not have it yet: {_reason(exc)}")
            self._on_event(EventName.JOURNAL_FAILED, {"error": _reason(exc), "action": action, "name": name})
        if failures := unreported_failures():
            self._on_event(EventName.CHANGE_INCOMPLETE, {"name": name, "action": action, "failures": failures})

    @property
    def waiting(self) -> int:
        """How many entries wait in memory until the journal can be written."""
        return len(self._waiting)

    def retry(self) -> None:
        """Write the entries that were not written or were lost, and find out whether the journal can be written now.

        Call this every few seconds, and before the process ends; from one thread at a time. Sets `problem`.
        """
        written = 0
        try:
            self._take_back_lost()
            while self._waiting:
                self.write(self._waiting[0], again=True)
                self._waiting.popleft()
                written += 1
            self._files.check_writable()
            self.problem = None
        except (OSError, StoreError) as exc:
            self.problem = _reason(exc)
        if written:
            self._on_event(EventName.JOURNAL_CAUGHT_UP, {"entries": written})

    def _take_back_lost(self) -> None:
        """Let entries wait again whose lines a shared volume has accepted and then lost. Raises OSError.

        GlusterFS has been seen to lose a line in some 10,000 although its sync had succeeded.
        """
        now, due = time.monotonic(), list[JournalEntry]()
        while self._unconfirmed and now - self._unconfirmed[0][0] >= self._confirm_seconds:
            due.append(self._unconfirmed.popleft()[1])
        try:
            missing = set(self._files.missing([entry.to_line() for entry in due])) if due else set[bytes]()
        except OSError:
            self._unconfirmed.extendleft((now - self._confirm_seconds, entry) for entry in reversed(due))
            raise
        for entry in due:
            if entry.to_line() in missing:
                self._waiting.append(entry)
                error = "the volume has lost the line after it was synced"
                self._on_event(EventName.JOURNAL_FAILED, {"error": error, "action": entry.action, "name": entry.name})

    def write(self, entry: JournalEntry, *, again: bool = False) -> None:
        """Append one entry and sync it to the disk.

        With `again`, an entry that an earlier attempt has written is not appended twice. Raises OSError, and
        ModelLocked after 10 s on a shared volume.
        """
        self._files.append(entry.to_line(), again=again)
        if self._volume.is_shared and not again:
            self._unconfirmed.append((time.monotonic(), entry))

    def latest(self, count: int) -> list[JournalEntry]:
        """Get the last `count` entries, newest first. Raises StoreUnavailable.

        Reads the files from their ends, as far as is needed: the present file, and as many older files as fit into
        24 MiB with it.
        """
        self._volume.check()
        with closing(self._entries()) as entries:
            return list(islice(entries, count))

    def _entries(self) -> Generator[JournalEntry]:
        """Yield the latest entries, newest first. Lines that are no entries are skipped, and their file is reported."""
        for path, lines in self._files.latest_lines():
            unread = 0
            for line in lines:
                try:
                    yield ENTRY.parse(line)
                except RecordDamaged:
                    unread += 1
            if unread:
                self._volume.records.note(path, ENTRY.kind, f"{unread:,} of its lines are not entries of the journal")


def _reason(exc: OSError | StoreError) -> str:
    return str(refusal_of(exc)) if isinstance(exc, OSError) else str(exc)
