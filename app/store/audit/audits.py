"""The audit of a whole folder, and the prune that follows: every model judged, who uses it, what could be freed."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from app.errors import StoreError
from app.store.actor import Actor
from app.store.audit.findings import Finding, PruneOutcome, PrunePlan, Reason, audit
from app.store.deletions import Deletions
from app.store.incoming.incoming import Incoming
from app.store.incoming.partials import Partial
from app.store.integrity.corruption import HeaderCheckCache, known_corruption
from app.store.integrity.digests import Digests
from app.store.inventory import Inventory
from app.store.locks.leases import Blocker
from app.store.locks.model_locks import ModelLocks, is_leased
from app.store.policy import Policy
from app.store.protections import Protections
from app.store.trash.trash import Trash

READ_SECONDS = 2.0
"""How long one audit reads headers, thousands of small ones. Each is read once; the next audit reads the rest."""


@dataclass(frozen=True, slots=True)
class Report:
    """What an audit says of a folder."""

    findings: tuple[Finding, ...]
    """One for each model, by name."""
    blockers: Mapping[str, list[Blocker]]
    """Who uses each model that is in use."""
    partials: tuple[Partial, ...]
    trash_bytes: int
    """The size of the models in the trash."""
    unread: int
    """How many headers are not read yet."""

    @property
    def old(self) -> list[Finding]:
        """The old models."""
        return [finding for finding in self.findings if finding.is_old]

    @property
    def corrupt(self) -> list[Finding]:
        """The corrupt models, old or not."""
        return [finding for finding in self.findings if Reason.CORRUPT in finding.reasons]

    @property
    def unwritten_bytes(self) -> int:
        """The size of the partial files that no process writes now."""
        return sum(partial.size_bytes for partial in self.partials if not partial.is_active)

    def free_bytes(self, findings: Iterable[Finding]) -> int:
        """How many bytes deleting these models would free, without those that are protected or in use."""
        names = self.blockers
        return sum(f.model.size_bytes for f in findings if f.protection is None and f.model.name not in names)


class Audits:
    """The audits of one model folder, and the prunes that follow from them. They block."""

    def __init__(
        self,
        policy: Policy,
        protections: Protections,
        digests: Digests,
        headers: HeaderCheckCache,
        locks: ModelLocks,
        incoming: Incoming,
        trash: Trash,
        deletions: Deletions,
    ) -> None:
        self._policy = policy
        self._protections = protections
        self._digests = digests
        self._headers = headers
        self._locks = locks
        self._incoming = incoming
        self._trash = trash
        self._deletions = deletions

    def judge(self, inventory: Inventory, *, seconds: float = READ_SECONDS) -> tuple[list[Finding], int]:
        """Judge every model, reading headers for `seconds` at most; also return how many are unread."""
        corruption = known_corruption(self._digests, self._headers, inventory, seconds=seconds)
        return audit(inventory, self._policy, self._protections, corruption), corruption.unread

    def report(self, inventory: Inventory, *, seconds: float = READ_SECONDS) -> Report:
        """Make the whole audit. Raises StoreUnavailable."""
        findings, unread = self.judge(inventory, seconds=seconds)
        leased = self._locks.leased_positions()
        used = [name for name in inventory.models if is_leased(name, leased)]
        return Report(
            findings=tuple(findings),
            blockers={name: blockers for name in used if (blockers := self._locks.blockers(name))},
            partials=tuple(self._incoming.partials()),
            trash_bytes=sum(entry.size_bytes for entry in self._trash.entries()),
            unread=unread,
        )

    def execute(self, plan: PrunePlan, actor: Actor) -> list[PruneOutcome]:
        """Delete each model of the plan that is still that version, free and unprotected; report those that stay."""
        outcomes = []
        for finding in plan.findings:
            model = finding.model
            try:
                deletion = self._deletions.plan(model.name, if_match=[model.etag], permanent=plan.permanent)
                outcomes.append(PruneOutcome(finding, self._deletions.delete(deletion, actor)))
            except StoreError as exc:
                outcomes.append(PruneOutcome(finding, error=exc))
        return outcomes
