"""Which models are old or corrupt and why, and the plan to delete them. Reads no model: it judges an inventory."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from app.errors import StoreError
from app.store.deletions import Receipt
from app.store.integrity.corruption import Corruption
from app.store.inventory import Inventory, Model
from app.store.policy import Policy, Status
from app.store.protections import Protection, Protections

VERSION = re.compile(r"(?P<before>.*[._-])v(?P<version>\d+(?:\.\d+)*)(?P<after>(?:[._-].*)?)", re.IGNORECASE)
"""The last part of a name that looks like a version: `_v1`, `-v2.1`."""
NO_CORRUPTION = Corruption({})


class Reason(StrEnum):
    """Why a model may be pruned."""

    STALE_PATTERN = "stale_pattern"
    """It matches a pattern of OCR_OLD_PATTERNS."""
    SUPERSEDED = "superseded"
    """A newer version of the same name exists beside it: en_ocr_v1.bin beside en_ocr_v2.bin."""
    CORRUPT = "corrupt"
    """Its bytes are not those on record, or its header shows that it is cut off. That does not make it old."""


AGEING = frozenset({Reason.STALE_PATTERN, Reason.SUPERSEDED})
"""The reasons that make a model old."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What the audit says of one model."""

    model: Model
    reasons: tuple[Reason, ...]
    """Why it may be pruned; empty if nothing speaks against it."""
    stale_pattern: str | None
    superseded_by: str | None
    corrupt: str | None
    """What is wrong with it."""
    protection: Protection | None
    """Why it must not be deleted, if it must not."""

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
        """Identifies the plan on every service. It differs once a model of the plan was added, changed or removed."""
        exact = [[finding.model.name, finding.model.etag] for finding in self.findings]
        return hashlib.sha256(json.dumps([exact, self.permanent]).encode()).hexdigest()[:32]


class PruneResult(StrEnum):
    """What a prune did with one model."""

    PLANNED = "planned"
    """Nothing yet: this is a dry run."""
    TRASHED = "trashed"
    DELETED = "deleted"
    """At once, without the trash."""
    STAYED = "stayed"
    """The deletion was refused."""


@dataclass(frozen=True, slots=True)
class PruneOutcome:
    """One model of a plan, and what the prune did with it."""

    finding: Finding
    receipt: Receipt | None = None
    error: StoreError | None = None
    """Why it was not deleted."""

    @property
    def result(self) -> PruneResult:
        """Return what the prune did with the model."""
        if self.error:
            return PruneResult.STAYED
        if self.receipt is None:
            return PruneResult.PLANNED
        return PruneResult.TRASHED if self.receipt.trash_id else PruneResult.DELETED


def audit(
    inventory: Inventory, policy: Policy, protections: Protections, corruption: Corruption = NO_CORRUPTION
) -> list[Finding]:
    """Judge every model, by name."""
    manual = protections.manual()
    superseded = superseded_by(inventory.models)
    findings = []
    for name, model in inventory.models.items():
        pattern, newer = policy.stale_pattern(name), superseded.get(name)
        wrong = corruption.problems.get(name)
        speaking = {Reason.STALE_PATTERN: pattern, Reason.SUPERSEDED: newer, Reason.CORRUPT: wrong}
        reasons = tuple(reason for reason, speaks in speaking.items() if speaks)
        protection = protections.combine(name, manual.get(name))
        findings.append(Finding(model, reasons, pattern, newer, wrong, protection))
    return findings


def superseded_by(names: Iterable[str]) -> dict[str, str]:
    """The newest version of each name that has a newer one. Versions are compared number by number."""
    versions: dict[tuple[str, str], list[tuple[tuple[int, ...], str]]] = {}
    for name in names:
        if match := VERSION.fullmatch(name):
            version = tuple(int(number) for number in match["version"].split("."))
            versions.setdefault((match["before"], match["after"]), []).append((version, name))
    newest = {key: max(known) for key, known in versions.items()}
    return {
        name: newest[key][1] for key, known in versions.items() for version, name in known if version < newest[key][0]
    }


def plan_prune(findings: Iterable[Finding], reasons: Iterable[Reason], *, permanent: bool) -> PrunePlan:
    """Plan to delete every model that has one of those reasons and is not protected."""
    wanted = set(reasons)
    chosen = [finding for finding in findings if wanted & set(finding.reasons) and finding.protection is None]
    return PrunePlan(tuple(chosen), permanent)
