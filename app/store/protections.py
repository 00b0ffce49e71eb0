"""Protections of models from deletion and replacement, set by a pattern of the configuration or by a caller.

A caller's protection is a record in `.store/protection/`, valid for every service on the folder. It protects a name and
not a file: it stays until a caller removes it, even if the model is deleted and another model gets its name.
"""

import contextlib
import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from app.errors import (
    LookupStale,
    ModelInUse,
    ModelLocked,
    ModelNotFound,
    ModelProtected,
    NotAModel,
    StoreError,
    StoreUnavailable,
)
from app.errors.exhaustion import exhausted_resource
from app.store.actor import Actor
from app.store.aftermath import after_change
from app.store.journal.entries import Action
from app.store.journal.journal import Journal
from app.store.locks.model_locks import STORE_LOCK_SECONDS, ModelLocks
from app.store.names import parts_of
from app.store.policy import Policy
from app.store.records.forms import ModelName, RecordForm, Time
from app.store.records.name_records import NameRecords, key_of
from app.store.volume.claims import folder_opened
from app.store.volume.refusals import explaining_refusals
from app.store.volume.volume import Volume

MAX_REASON_CHARS = 500
"""The longest reason of a protection. Every refusal of a deletion quotes it."""
PROTECTION_LOCK = "/protection"
"""The name of the lock that is held while a protection's record is changed. No model can have this name."""

MARK = "kept"
"""The name of an empty file beside the records. If this file is missing, the folder was removed or emptied."""
SETTLED_NS = 2_000_000_000
"""How old, in nanoseconds, the folder's modification time must be before an unchanged time proves that nothing has
changed. Two changes within one step of the file system's clock leave the same time."""


@dataclass(frozen=True, slots=True)
class ManualProtection:
    """A protection that a caller set."""

    reason: str
    by: str
    """The name of the `Actor` that set the protection."""
    since: datetime


@dataclass(frozen=True, slots=True)
class Protection:
    """Why one model is protected: by a pattern, by a caller, or by both."""

    pattern: str | None
    """The first pattern of OCR_PROTECTED that the model's name matches, or None. Only the configuration can change the
    pattern."""
    manual: ManualProtection | None
    """The protection that a caller set; None without one."""

    @property
    def because(self) -> str:
        """Why the model is protected, as text: the pattern, or else the caller's reason."""
        return self.manual.reason if self.pattern is None and self.manual else str(self.pattern)


@dataclass(frozen=True, slots=True)
class ProtectionRecord:
    """The record of a caller's protection."""

    name: ModelName
    reason: str
    by: str
    since: Time

    @property
    def manual(self) -> ManualProtection:
        """The protection that the record states."""
        return ManualProtection(self.reason, self.by, self.since)


PROTECTION = RecordForm(ProtectionRecord, "protection")
UNREADABLE = ManualProtection("its protection's record cannot be read", "unknown", datetime.fromtimestamp(0, UTC))
"""The protection of a model whose record cannot be read. The record was written to protect the model, so the model
stays protected."""


class _WithUnreadable(dict[str, ManualProtection]):
    """A mapping of protections by model name, which also knows records that cannot be read.

    A model whose record cannot be read counts as protected, although the record does not show the model's name.
    """

    def __init__(self, found: Mapping[str, ManualProtection], unreadable: frozenset[str]) -> None:
        super().__init__(found)
        self.unreadable = unreadable

    def __contains__(self, name: object) -> bool:
        return super().__contains__(name) or (isinstance(name, str) and key_of(name) in self.unreadable)

    def get(self, name: str, default: Any = None) -> Any:  # noqa: ANN401 - as of dict
        return super().get(name, UNREADABLE if name in self else default)

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.unreadable == getattr(other, "unreadable", frozenset())

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = None


class Protections:
    """The protections of one model folder."""

    def __init__(self, volume: Volume, locks: ModelLocks, policy: Policy, journal: Journal) -> None:
        self._records = NameRecords(volume.protection_dir, PROTECTION, volume.records)
        self._volume = volume
        self._locks = locks
        self._policy = policy
        self._journal = journal
        self._manual: Mapping[str, ManualProtection] = {}
        self._seen_ns: int | None = None
        self._mark = volume.protection_dir / MARK
        self._is_marked = False
        """True once this process has seen the mark in the folder."""
        self._writing_again = threading.Lock()

    def of(self, name: str) -> Protection | None:
        """Get the protection of a model from the disk; None if the model is not protected.

        A model whose record cannot be read is protected too. Raises OSError if this process lacks descriptors or
        memory.
        """
        manual = None
        try:
            if record := self._records.read(name):
                manual = record.manual
            elif self._records.has(name):
                manual = UNREADABLE
        except OSError as exc:
            if exhausted_resource(exc):  # which says nothing about the record
                raise
            manual = UNREADABLE
        return self.combine(name, manual)

    def check(self, name: str) -> None:
        """Raise ModelProtected if the model is protected. Raises OSError if a shared volume does not answer.

        Raises StoreUnavailable if something other than a folder is at the path of the records' folder.

        The caller must hold the model's lock, so that no protection is set before the lock is released.
        """
        self._volume.check_folder(self._records.folder)
        self.write_again_if_removed()
        protection = self.of(name)
        if protection and protection.manual is UNREADABLE:
            # Something may have taken the place of the folder for a moment.
            self._volume.check_folder(self._records.folder)
            protection = self.of(name)
        if protection is None and name in self._manual:
            # Another service has just removed the protection, or another program has just removed the folder.
            self.write_again_if_removed()
            protection = self.of(name)
            if protection is None and self._is_removed():
                protection = self.combine(name, self._manual.get(name))
        if protection is None and self._volume.is_shared and self._records.is_on_server(name):
            protection = self.combine(name, UNREADABLE)  # another machine has just written the record
        if protection:
            reason = protection.manual.reason if protection.manual else None
            advice = self._advice() if protection.manual is UNREADABLE else None
            raise ModelProtected(name, protection.pattern, reason, advice)

    def _advice(self) -> str | None:
        """Return what the operator can do if this process may not remove records of protections; None if it may."""
        if os.access(self._records.folder, os.W_OK | os.X_OK, effective_ids=True):
            return None
        return (
            f"The service's user may not change {self._records.folder}, so no request removes the protection: give "
            "that folder the owner and the mode of the model folder."
        )

    def combine(self, name: str, manual: ManualProtection | None) -> Protection | None:
        """Combine a caller's protection with the configuration's patterns; None if the model is not protected."""
        pattern = self._policy.protecting(name)
        return None if pattern is None and manual is None else Protection(pattern, manual)

    def manual(self) -> Mapping[str, ManualProtection]:
        """Get the protections set by callers (not by `OCR_PROTECTED`), by model name. Raises OSError.

        The result is cached, and is the identical object until a protection changes. The records are read again when
        the modification time of their folder changes. If their folder was removed, the protections known before count
        until `write_again_if_removed` has written the records again.
        """
        if self._is_removed():
            return self._manual
        try:
            changed_ns = self._records.folder.stat().st_mtime_ns
        except FileNotFoundError:
            changed_ns = 0
        if changed_ns != self._seen_ns:
            is_marked = os.path.lexists(self._mark)
            records, unreadable = self._records.survey()
            if self._is_removed() or (is_marked and not os.path.lexists(self._mark)):
                return self._manual  # the folder was removed meanwhile, so that records may be missing in `records`
            found = {record.name: record.manual for record in records}
            # A record that cannot be read does not show its model's name, but its file name is the hash of the name.
            manual = _WithUnreadable(found, unreadable) if unreadable else found
            if manual != self._manual:
                self._manual = manual
            self._is_marked = is_marked
            self._seen_ns = changed_ns if time.time_ns() - changed_ns > SETTLED_NS else None
        return self._manual

    @staticmethod
    def _set_mark(folder: int) -> None:
        """Create the mark in the open folder of the records.

        By its descriptor, because another, empty folder may be at the path by now, whose records are still missing.
        """
        flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        with contextlib.suppress(OSError):  # without the mark, a removal of the folder is not noticed
            os.close(os.open(MARK, flags, 0o666, dir_fd=folder))

    def _is_removed(self) -> bool:
        return self._is_marked and bool(self._manual) and not os.path.lexists(self._mark)

    def write_again_if_removed(self) -> None:
        """Write the records of the known protections again if their folder was removed, emptied or replaced.

        A caller who removes one protection removes only its record. So if the file MARK is missing too, another program
        has removed all files of the folder, probably without the intention to remove the protections.
        """
        with self._writing_again, contextlib.suppress(OSError, StoreError):
            if not self._is_removed():
                return
            self._volume.check_writable()  # creates the folder
            with folder_opened(self._records.folder) as folder:
                for name, manual in self._manual.items():
                    if not self._records.has(name):
                        self._records.write(name, asdict(manual) | {"since": manual.since.isoformat()}, is_lasting=True)
                if all(self._records.is_in(folder, name) for name in self._manual):
                    self._set_mark(folder)
            self._seen_ns = None

    def protect(self, name: str, reason: str, actor: Actor) -> Protection:
        """Protect a model from deletion and replacement. Replaces a caller's earlier protection of the name.

        Raises InvalidModelName, NotAModel, ModelNotFound, ModelLocked, StoreUnavailable, StoreReadOnly, StoreDenied,
        StoreUnsafe, StoreFull.
        """
        manual = ManualProtection(reason, actor.name, datetime.now(UTC))
        with self._changing(name, actor), folder_opened(self._records.folder) as folder:
            model = self._volume.find(name)
            fields = asdict(manual) | {"since": manual.since.isoformat()}
            self._records.write(name, fields, is_lasting=True)
            self._set_mark(folder)
        self._journal.record(actor, Action.PROTECTED, name, None, model.size_bytes)
        return Protection(self._policy.protecting(name), manual)

    def unprotect(self, name: str, actor: Actor) -> None:
        """Remove a caller's protection from a name, even if no model has the name now.

        No effect on an unprotected model.

        Raises ModelProtected if a pattern protects the model, ModelNotFound if there is neither a protection nor a
        model, LookupStale, and what `protect` raises.
        """
        with self._changing(name, actor):
            if pattern := self._policy.protecting(name):
                raise ModelProtected(name, pattern, None)
            if not self._records.remove(name):
                if self._volume.is_shared and self._records.is_on_server(name):
                    raise LookupStale
                self._volume.find(name)
                return
        size_bytes = 0
        with after_change("the model could not be looked up"):
            size_bytes = self._size_of(name)
        self._journal.record(actor, Action.UNPROTECTED, name, None, size_bytes)

    @contextmanager
    def _changing(self, name: str, actor: Actor) -> Iterator[None]:
        parts_of(name)
        self._volume.check_writable()
        with (
            explaining_refusals(),
            # Take a lease and not the exclusive lock, so that a model in use can be protected, but not during its
            # deletion.
            self._locks.lease(name, kind="protection", holder=actor.name, seconds=STORE_LOCK_SECONDS),
            self._records_locked(name),
        ):
            # Otherwise this change would set the mark in a folder that lacks the records of the other protections.
            self.write_again_if_removed()
            if self._is_removed():
                raise StoreUnavailable(f"{self._records.folder} was removed. Try again; the service creates it")
            yield

    @contextmanager
    def _records_locked(self, name: str) -> Iterator[None]:
        """Hold the lock of all protections' records. Raises ModelLocked, with the model's name, if it stays taken."""
        with ExitStack() as lock:
            try:
                lock.enter_context(self._locks.exclusive(PROTECTION_LOCK, seconds=STORE_LOCK_SECONDS))
            except (ModelInUse, ModelLocked):
                raise ModelLocked(name) from None
            yield

    def _size_of(self, name: str) -> int:
        try:
            return self._volume.find(name).size_bytes
        except (ModelNotFound, NotAModel):
            return 0
