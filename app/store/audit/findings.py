"""Finds which models of an inventory are old or corrupt, and why; and plans their deletion. Opens no model's file."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.errors import StoreError
from app.store.audit.look_alikes import look_alikes
from app.store.deletions import Receipt
from app.store.integrity.corruption import Corruption
from app.store.inventory import Inventory, Model
from app.store.policy import Policy, Status
from app.store.protections import Protection, Protections

VERSIONED_NAME = re.compile(r"(?P<before>.*[._-])v(?P<version>\d+(?:\.\d+)*)(?P<after>(?:[._-].*)?)", re.IGNORECASE)
"""Splits a name at its last piece that looks like a version, such as `_v1` or `-v2.1`."""
NO_CORRUPTION = Corruption({})


class Reason(StrEnum):
    """Why a model may be pruned."""

    STALE_PATTERN = "stale_pattern"
    """The name matches a pattern of OCR_OLD_PATTERNS."""
    SUPERSEDED = "superseded"
    """A newer version of the model exists beside it: en_ocr_v2.bin supersedes en_ocr_v1.bin."""
    CORRUPT = "corrupt"
    """The bytes do not have the recorded digest, or the header is damaged. This reason does not make a model old."""


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
    """The name of the newest version, if there is a newer version; else None."""
    corrupt: str | None
    """What is wrong with the file, if it is known to be corrupt."""
    protection: Protection | None
    """Why the model must not be deleted; None if it is not protected."""
    looks_like: tuple[str, ...] = ()
    """The names of other models that look the same as this model's name."""
    misnamed: str | None = None
    """What the content is, if the content is of another format than the name's suffix; else None."""

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
    """Which versions of which models to delete, and how."""

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
    """One model of a plan, and what the prune did with it."""

    finding: Finding
    receipt: Receipt | None = None
    error: StoreError | None = None
    """Why the deletion was refused, if it was."""

    @property
    def result(self) -> PruneResult:
        """The result, in one word."""
        if self.error:
            return PruneResult.STAYED
        if self.receipt is None:
            return PruneResult.PLANNED
        return PruneResult.TRASHED if self.receipt.trash_id else PruneResult.DELETED


def audit(
    inventory: Inventory, policy: Policy, protections: Protections, corruption: Corruption = NO_CORRUPTION
) -> list[Finding]:
    """Return one finding for each model of the inventory, sorted by name. Raises OSError."""
    manual = protections.manual()
    superseded, alike = superseded_by(inventory.models), look_alikes(inventory.models)
    findings = []
    for name, model in inventory.models.items():
        pattern, newer = policy.stale_pattern(name), superseded.get(name)
        wrong = corruption.problems.get(name)
        grounds = {Reason.STALE_PATTERN: pattern, Reason.SUPERSEDED: newer, Reason.CORRUPT: wrong}
        reasons = tuple(reason for reason, ground in grounds.items() if ground)
        protection = protections.combine(name, manual.get(name))
        misnamed = corruption.misnamed.get(name)
        findings.append(Finding(model, reasons, pattern, newer, wrong, protection, alike.get(name, ()), misnamed))
    return findings


def superseded_by(names: Iterable[str]) -> dict[str, str]:
    """Return the newest version of each model that has a newer one, by name. Compares versions number by number."""
    versions: dict[tuple[str, str], list[tuple[tuple[int, ...], str]]] = {}
    for name in names:
        if match := VERSIONED_NAME.fullmatch(name):
            version = tuple(int(number) for number in match["version"].split("."))
            versions.setdefault((match["before"], match["after"]), []).append((version, name))
    newest = {key: max(known) for key, known in versions.items()}
    return {
        name: newest[key][1] for key, known in versions.items() for version, name in known if version < newest[key][0]
    }


def plan_prune(findings: Iterable[Finding], reasons: Iterable[Reason], *, permanent: bool) -> PrunePlan:
    """Plan to delete every model that has one of `reasons` and is not protected."""
    wanted = set(reasons)
    chosen = [finding for finding in findings if wanted & set(finding.reasons) and finding.protection is None]
    return PrunePlan(tuple(chosen), permanent)
