"""Which models must not be deleted or replaced: by a pattern of the configuration, or because somebody said so.

What somebody said is a record in `.store/protection/`. It is the name that is protected, not the file: the record stays
until it is lifted, through restarts, for every service on the folder, whatever comes to lie at that name.
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
"""A folder that changed less than so long ago may change again without another time: it is read again."""


@dataclass(frozen=True, slots=True)
class ManualProtection:
    """What somebody said."""

    reason: str
    by: str
    """Who: the name of the API key, or the user of the command line."""
    since: datetime


@dataclass(frozen=True, slots=True)
class Protection:
    """Why one model is protected: for one of these reasons, or both."""

    pattern: str | None
    """The first pattern of OCR_PROTECTED that its name matches; only the configuration can lift that."""
    given: ManualProtection | None

    @property
    def because(self) -> str:
        """The reason in words."""
        return self.given.reason if self.pattern is None and self.given else str(self.pattern)


class Protections:
    """The protections of one model folder."""

    def __init__(self, volume: Volume, locks: ModelLocks, policy: Policy, journal: Journal) -> None:
        self._records = NameRecords(volume.protection_dir)
        self._volume = volume
        self._locks = locks
        self._policy = policy
        self._journal = journal
        self._given: Mapping[str, ManualProtection] = {}
        self._seen_ns: int | None = None

    def of(self, name: str) -> Protection | None:
        """Why a model is protected, as it is on disk now; None when it is not."""
        try:
            fields = self._records.read(name)
        except OSError:
            fields = {}  # there is one, whatever it says
        return self.joined(name, _given(fields))

    def check(self, name: str) -> None:
        """Raise ModelProtected if the model is protected. Raises OSError on a shared volume that does not answer.

        Hold the model's lock meanwhile: then no protection begins before that is released.
        """
        protection = self.of(name)
        if protection is None and self._volume.is_shared and self._records.is_on_server(name):
            protection = self.joined(name, _given({}))  # another machine's, which cannot be read here yet
        if protection:
            raise ModelProtected(name, protection.pattern, protection.given.reason if protection.given else None)

    def joined(self, name: str, given: ManualProtection | None) -> Protection | None:
        """What the configuration says of a model, and this."""
        pattern = self._policy.protecting(name)
        return None if pattern is None and given is None else Protection(pattern, given)

    def given(self) -> Mapping[str, ManualProtection]:
        """What is said of all models, by name: the same object as long as nothing changes. Costs one `stat` as a rule.

        OSError is let through.
        """
        try:
            changed_ns = self._records.folder.stat().st_mtime_ns
        except FileNotFoundError:
            changed_ns = 0
        if changed_ns != self._seen_ns:
            given = {fields["name"]: said for fields in self._records.all() if (said := _given(fields))}
            if given != self._given:
                self._given = given
            self._seen_ns = changed_ns if time.time_ns() - changed_ns > SETTLED_NS else None
        return self._given

    def protect(self, name: str, reason: str, actor: Actor) -> Protection:
        """Let nobody delete or replace the model of that name, in place of what was said of it before.

        Raises InvalidModelName, NotAModel, ModelNotFound, ModelLocked, StoreUnavailable, StoreReadOnly, StoreFull.
        """
        given = ManualProtection(reason, actor.name, datetime.now(UTC))
        with self._changing(name, actor):
            model = self._volume.find(name)
            fields = asdict(given) | {"since": given.since.isoformat()}
            self._records.write(name, fields, is_lasting=True)
        self._journal.record(actor, Action.PROTECTED, name, None, model.size_bytes)
        return Protection(self._policy.protecting(name), given)

    def unprotect(self, name: str, actor: Actor) -> None:
        """Take that back; there may be no model any more. Where nothing was said nothing happens.

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


def _given(fields: dict[str, Any] | None) -> ManualProtection | None:
    if fields is None:
        return None
    try:
        return ManualProtection(str(fields["reason"]), str(fields["by"]), datetime.fromisoformat(fields["since"]))
    except (ValueError, KeyError, TypeError):
        # It was meant to protect; who wrote it in another form is no reason to delete the model.
        return ManualProtection("a record that cannot be read", "unknown", datetime.fromtimestamp(0, UTC))
