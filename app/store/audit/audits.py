"""The audit of a whole folder judges every model and lists the model's users. A prune deletes models by a plan."""

from collections.abc import Callable, Iterable, Mapping
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
from app.store.volume.refusals import refusal_of

READ_SECONDS = 2.0
"""How long, in seconds, one audit reads models' headers: enough for thousands. Each header is read only once; the next
audit reads the headers that are left."""


@dataclass(frozen=True, slots=True)
class Report:
    """The result of an audit of one folder."""

    findings: tuple[Finding, ...]
    """One finding for each model, sorted by name."""
    blockers: Mapping[str, list[Blocker]]
    """The holders of leases, by model name. Models that are not in use are left out."""
    partials: tuple[Partial, ...]
    trash_bytes: int
    """The size of the models in the trash."""
    unread: int
    """The number of models whose headers have not been read yet."""

    @property
    def old(self) -> list[Finding]:
        """The findings about old models."""
        return [finding for finding in self.findings if finding.is_old]

    @property
    def corrupt(self) -> list[Finding]:
        """The findings about corrupt models, whether they are old or not."""
        return [finding for finding in self.findings if Reason.CORRUPT in finding.reasons]

    @property
    def unwritten_bytes(self) -> int:
        """The size of the partial files that no process writes now."""
        return sum(partial.size_bytes for partial in self.partials if not partial.is_active)

    def free_bytes(self, findings: Iterable[Finding]) -> int:
        """Return how many bytes the deletion of these models would free, without protected models and models in use."""
        names = self.blockers
        return sum(f.model.size_bytes for f in findings if f.protection is None and f.model.name not in names)


class Audits:
    """Audits one model folder, and executes prune plans. The methods block."""

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
        needed_ocr_models: Callable[[], frozenset[str] | None],
    ) -> None:
        """`needed_ocr_models` returns the OCR models that the vendor's package asks for; None if they are not known."""
        self._policy = policy
        self._protections = protections
        self._digests = digests
        self._headers = headers
        self._locks = locks
        self._incoming = incoming
        self._trash = trash
        self._deletions = deletions
        self._needed_ocr_models = needed_ocr_models

    def judge(self, inventory: Inventory, *, seconds: float = READ_SECONDS) -> tuple[list[Finding], int]:
        """Return one finding for each model, and the number of models whose headers are unread.

        Reads headers for `seconds` at most.
        """
        corruption = known_corruption(self._digests, self._headers, inventory, seconds=seconds)
        needed = self._needed_ocr_models()
        return audit(inventory, self._policy, self._protections, corruption, needed), corruption.unread

    def report(self, inventory: Inventory, *, seconds: float = READ_SECONDS) -> Report:
        """Return the audit of the whole folder: findings, users, partial files and trash. Raises StoreUnavailable."""
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

    def execute(
        self, plan: PrunePlan, actor: Actor, on_outcome: Callable[[PruneOutcome], None] = lambda _: None
    ) -> list[PruneOutcome]:
        """Delete each model of a plan, and return one outcome for each model; call `on_outcome` with each outcome.

        A model stays, with an error in its outcome, if its version has changed, or if it is in use or protected.
        """
        outcomes = []
        for finding in plan.findings:
            model = finding.model
            try:
                deletion = self._deletions.plan(model.name, if_match=[model.etag], permanent=plan.permanent)
                outcome = PruneOutcome(finding, self._deletions.delete(deletion, actor))
            except StoreError as exc:
                outcome = PruneOutcome(finding, error=exc)
            except OSError as exc:
                outcome = PruneOutcome(finding, error=refusal_of(exc))
            outcomes.append(outcome)
            on_outcome(outcome)
        return outcomes
