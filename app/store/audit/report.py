"""The audit of a whole folder: every model judged, who uses it, what is not a model yet, and what could be had back."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.store.audit.audit import Finding, Reason, audit
from app.store.incoming.partials import Partial
from app.store.integrity.corruption import known_damage
from app.store.inventory import Inventory
from app.store.locks.leases import Blocker
from app.store.locks.model_locks import is_leased
from app.store.store import Store

LOOK_SECONDS = 2.0
"""How long headers are read for one question: thousands of small ones. Each is read once, and the next goes on."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit says of a folder."""

    findings: tuple[Finding, ...]
    """One for each model, by name."""
    blockers: Mapping[str, list[Blocker]]
    """Who uses which model, of those in use."""
    partials: tuple[Partial, ...]
    trash_bytes: int
    """What the models in the trash take."""
    unread: int
    """How many headers were not read yet."""

    @property
    def old(self) -> list[Finding]:
        """The old models."""
        return [finding for finding in self.findings if finding.is_old]

    @property
    def corrupt(self) -> list[Finding]:
        """The corrupt ones, old or not."""
        return [finding for finding in self.findings if Reason.CORRUPT in finding.reasons]

    @property
    def unwritten_bytes(self) -> int:
        """What the partial files take that nobody writes."""
        return sum(partial.size_bytes for partial in self.partials if not partial.is_active)

    def free_bytes(self, findings: Iterable[Finding]) -> int:
        """What deleting those of them would free that are neither protected nor in use."""
        names = self.blockers
        return sum(f.model.size_bytes for f in findings if f.protection is None and f.model.name not in names)


def judge(store: Store, inventory: Inventory, *, seconds: float = LOOK_SECONDS) -> tuple[list[Finding], int]:
    """Judge every model, and say how many headers were not read yet, after reading on for so long. It blocks."""
    damage = known_damage(store.digests, store.headers, inventory, seconds=seconds)
    return audit(inventory, store.policy, store.protections, damage), damage.unread


def report(store: Store, inventory: Inventory, *, seconds: float = LOOK_SECONDS) -> Report:
    """The whole audit. It blocks. Raises StoreUnavailable."""
    findings, unread = judge(store, inventory, seconds=seconds)
    leased_bytes = store.locks.leased_bytes()
    used = [name for name in inventory.models if is_leased(name, leased_bytes)]
    return Report(
        findings=tuple(findings),
        blockers={name: blockers for name in used if (blockers := store.locks.blockers(name))},
        partials=tuple(store.incoming.partials()),
        trash_bytes=sum(entry.size_bytes for entry in store.trash_entries()),
        unread=unread,
    )
