"""Finds which models of an inventory are old or corrupt, and why; and plans their deletion. Opens no model's file."""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.errors import StoreError
from app.store.audit.look_alikes import look_alikes
from app.store.audit.versions import is_needed, newer_versions
from app.store.deletions import Receipt
from app.store.integrity.corruption import Corruption
from app.store.inventory import Inventory, Model
from app.store.policy import Policy, Status
from app.store.protections import Protection, Protections

NO_CORRUPTION = Corruption({})


class Reason(StrEnum):
    """Why a model may be pruned."""

    STALE_PATTERN = "stale_pattern"
    """The name matches a pattern of OCR_OLD_PATTERNS."""
    SUPERSEDED = "superseded"
    """The model is an OCR model that the vendor's package no longer needs, because the package needs a newer version,
    which is in the same folder."""
    CORRUPT = "corrupt"
    """The model's bytes do not have the recorded digest, or its header is damaged. This reason does not make a model
    old."""


class Hint(StrEnum):
    """What may be a reason to prune a model, but proves nothing.

    A prune uses a hint only if its caller includes the hint.
    """

    SUPERSEDED = "superseded"
    """The folder also has a version with a higher number, such as en_ocr_v2.bin beside en_ocr_v1.bin. Both may be in
    use."""


AGEING = frozenset({Reason.STALE_PATTERN, Reason.SUPERSEDED})
"""The reasons that make a model old."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of the audit for one model."""

    model: Model
    reasons: tuple[Reason, ...]
    """Why the model may be pruned; empty if there is no reason."""
    stale_pattern: str | None
    """The pattern of OCR_OLD_PATTERNS that the name matches, if any."""
    superseded_by: str | None
    """The name of the newest version of the model; None if there is no newer version. Only `reasons` and `hints` say
    what follows from it."""
    corrupt: str | None
    """What is wrong with the file; None if the file is not known to be corrupt."""
    protection: Protection | None
    """Why the model must not be deleted; None if it is not protected."""
    looks_like: tuple[str, ...] = ()
    """The names of other models that look the same as this model's name."""
    hints: tuple[Hint, ...] = ()
    """What may be a reason to prune the model, but proves nothing."""
    is_needed: bool | None = None
    """Whether the vendor's package asks for this OCR model; None for other models, or if the package's needs are not
    known."""
    misnamed: str | None = None
    """The format of the content, if the name's suffix states another format; else None."""

    @property
    def is_old(self) -> bool:
        """True if a reason makes the model old: stale pattern, or superseded."""
        return not AGEING.isdisjoint(self.reasons)

    @property
    def status(self) -> Status:
        """Return `old` if the model is old, else `current`."""
        return "old" if self.is_old else "current"


@dataclass(frozen=True, slots=True)
class PrunePlan:
    """Which models to delete, in which version, and whether permanently."""

    findings: tuple[Finding, ...]
    permanent: bool

    @property
    def id(self) -> str:
        """A digest of the plan, equal on every service. It changes with the plan's models and their versions."""
        exact = [[finding.model.name, finding.model.etag] for finding in self.findings]
        return hashlib.sha256(json.dumps([exact, self.permanent]).encode()).hexdigest()[:32]


class PruneResult(StrEnum):
    """The result of a prune for one model."""

    PLANNED = "planned"
    """The prune was a dry run, and nothing was deleted."""
    TRASHED = "trashed"
    DELETED = "deleted"
    """Deleted permanently, without the trash."""
    STAYED = "stayed"
    """The model stays, since its deletion was refused."""


@dataclass(frozen=True, slots=True)
class PruneOutcome:
    """One model of a plan, and what the prune did with the model."""

    finding: Finding
    receipt: Receipt | None = None
    error: StoreError | None = None
    """Why the deletion was refused; None if it was not refused."""

    @property
    def result(self) -> PruneResult:
        """The result of the prune for this model."""
        if self.error:
            return PruneResult.STAYED
        if self.receipt is None:
            return PruneResult.PLANNED
        return PruneResult.TRASHED if self.receipt.trash_id else PruneResult.DELETED


def audit(
    inventory: Inventory,
    policy: Policy,
    protections: Protections,
    corruption: Corruption = NO_CORRUPTION,
    needed: frozenset[str] | None = None,
) -> list[Finding]:
    """Return one finding for each model of the inventory, sorted by name. Raises OSError.

    `needed` has the file names of the OCR models that the vendor's package asks for; None if they are not known.
    """
    manual = protections.manual()
    newer, alike = newer_versions(inventory.models, needed), look_alikes(inventory.models)
    findings = []
    for name, model in inventory.models.items():
        pattern, newest = policy.stale_pattern(name), newer.get(name)
        wrong = corruption.problems.get(name)
        is_superseded = newest is not None and newest.is_certain
        grounds = {Reason.STALE_PATTERN: pattern, Reason.SUPERSEDED: is_superseded, Reason.CORRUPT: wrong}
        findings.append(
            Finding(
                model,
                reasons=tuple(reason for reason, ground in grounds.items() if ground),
                stale_pattern=pattern,
                superseded_by=newest.name if newest else None,
                corrupt=wrong,
                protection=protections.combine(name, manual.get(name)),
                looks_like=alike.get(name, ()),
                hints=(Hint.SUPERSEDED,) if newest and not is_superseded else (),
                is_needed=is_needed(name, needed),
                misnamed=corruption.misnamed.get(name),
            )
        )
    return findings


def plan_prune(
    findings: Iterable[Finding], reasons: Iterable[Reason], *, permanent: bool, include: Iterable[Hint] = ()
) -> PrunePlan:
    """Plan to delete every model that has one of `reasons`, or a hint of `include`, and is not protected.

    An OCR model that the vendor's package needs is planned only if a pattern of OCR_OLD_PATTERNS names it.
    """
    wanted, hinted = set(reasons), set(include)

    def is_chosen(finding: Finding) -> bool:
        if finding.protection is not None:
            return False
        grounds = wanted & ({Reason.STALE_PATTERN} if finding.is_needed else set(Reason))
        return not grounds.isdisjoint(finding.reasons) or not hinted.isdisjoint(finding.hints)

    return PrunePlan(tuple(filter(is_chosen, findings)), permanent)
