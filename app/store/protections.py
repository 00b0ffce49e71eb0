"""Which models must not be deleted or replaced: by a pattern of the configuration, or by a caller's request.

A caller's protection is a record in `.store/protection/`, valid for every service on the folder. It protects the name
and not the file: it stays until it is removed, also while there is no model of that name or another one.
"""

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from app.errors import LookupStale, ModelNotFound, ModelProtected, NotAModel
from app.store.actor import Actor
from app.store.journal import Action, Journal
from app.store.locks.model_locks import LOCK_SECONDS, ModelLocks
from app.store.name_records import NameRecords
from app.store.names import parts_of
from app.store.policy import Policy
from app.store.volume.volume import Volume, explaining_refusals

PROTECTION_LOCK = "/protection"
"""The lock of the protections' records; no model can have that name."""

SETTLED_NS = 2_000_000_000
"""How old a folder's time must be to rely on it: within one step of its clock, a change leaves the time as it is."""


@dataclass(frozen=True, slots=True)
class ManualProtection:
    """A protection that a caller set."""

    reason: str
    by: str
    """The name of the `Actor` that set it."""
    since: datetime


@dataclass(frozen=True, slots=True)
class Protection:
    """Why one model is protected: for one of these reasons, or both."""

    pattern: str | None
    """The first pattern of OCR_PROTECTED that its name matches; only the configuration can change that."""
    manual: ManualProtection | None

    @property
    def because(self) -> str:
        """The reason in words."""
        return self.manual.reason if self.pattern is None and self.manual else str(self.pattern)


class Protections:
    """The protections of one model folder."""

    def __init__(self, volume: Volume, locks: ModelLocks, policy: Policy, journal: Journal) -> None:
        self._records = NameRecords(volume.protection_dir)
        self._volume = volume
        self._locks = locks
        self._policy = policy
        self._journal = journal
        self._manual: Mapping[str, ManualProtection] = {}
        self._seen_ns: int | None = None

    def of(self, name: str) -> Protection | None:
        """Get the protection of a model from the disk; None if it is not protected."""
        try:
            fields = self._records.read(name)
        except OSError:
            fields = {}  # a record that cannot be read still protects
        return self.combine(name, _manual_in(fields))

    def check(self, name: str) -> None:
        """Raise ModelProtected if the model is protected. Raises OSError on a shared volume that does not answer.

        Hold the model's lock: then no protection can be set before it is released.
        """
        protection = self.of(name)
        if protection is None and self._volume.is_shared and self._records.is_on_server(name):
            protection = self.combine(name, _manual_in({}))  # of another machine, not readable here yet
        if protection:
            raise ModelProtected(name, protection.pattern, protection.manual.reason if protection.manual else None)

    def combine(self, name: str, manual: ManualProtection | None) -> Protection | None:
        """Combine a caller's protection with the configuration's patterns; None if the model is not protected."""
        pattern = self._policy.protecting(name)
        return None if pattern is None and manual is None else Protection(pattern, manual)

    def manual(self) -> Mapping[str, ManualProtection]:
        """Protections set by callers (not by `OCR_PROTECTED`), by model name. Raises OSError.

        Cached, and the identical object until a change; read again when the folder's modification time changes.
        """
        try:
            changed_ns = self._records.folder.stat().st_mtime_ns
        except FileNotFoundError:
            changed_ns = 0
        if changed_ns != self._seen_ns:
            manual = {fields["name"]: found for fields in self._records.all() if (found := _manual_in(fields))}
            if manual != self._manual:
                self._manual = manual
            self._seen_ns = changed_ns if time.time_ns() - changed_ns > SETTLED_NS else None
        return self._manual

    def protect(self, name: str, reason: str, actor: Actor) -> Protection:
        """Protect the model of that name from deletion and replacement. Replaces a caller's earlier protection.

        Raises InvalidModelName, NotAModel, ModelNotFound, ModelLocked, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        manual = ManualProtection(reason, actor.name, datetime.now(UTC))
        with self._changing(name, actor):
            model = self._volume.find(name)
            fields = asdict(manual) | {"since": manual.since.isoformat()}
            self._records.write(name, fields, is_lasting=True)
        self._journal.record(actor, Action.PROTECTED, name, None, model.size_bytes)
        return Protection(self._policy.protecting(name), manual)

    def unprotect(self, name: str, actor: Actor) -> None:
        """Remove the protection set by `protect`, also of a deleted model; no effect if there is none.

        Raises ModelProtected when a pattern protects it, ModelNotFound when there is nothing, and what `protect` does.
        """
        with self._changing(name, actor):
            if pattern := self._policy.protecting(name):
                raise ModelProtected(name, pattern, None)
            if not self._records.remove(name):
                if self._volume.is_shared and self._records.is_on_server(name):
                    raise LookupStale
                self._volume.find(name)
                return
        self._journal.record(actor, Action.UNPROTECTED, name, None, self._size_of(name))

    @contextmanager
    def _changing(self, name: str, actor: Actor) -> Iterator[None]:
        parts_of(name)
        self._volume.check_writable()
        with (
            explaining_refusals(),
            # A lease, so that a model in use can be protected, and none that is being deleted.
            self._locks.lease(name, kind="protection", holder=actor.name, seconds=LOCK_SECONDS),
            self._locks.exclusive(PROTECTION_LOCK, seconds=LOCK_SECONDS),
        ):
            yield

    def _size_of(self, name: str) -> int:
        try:
            return self._volume.find(name).size_bytes
        except (ModelNotFound, NotAModel):
            return 0


def _manual_in(fields: dict[str, Any] | None) -> ManualProtection | None:
    if fields is None:
        return None
    try:
        return ManualProtection(str(fields["reason"]), str(fields["by"]), datetime.fromisoformat(fields["since"]))
    except (ValueError, KeyError, TypeError):
        # A record of another form still protects: it was written to.
        return ManualProtection("a record that cannot be read", "unknown", datetime.fromtimestamp(0, UTC))
