"""The store: the model folder and its rules. Knows neither HTTP nor the engine, jobs or pulls.

Import from here what the other folders of `app` use. What is not listed is the store's own, or needed by few: the
watchers that a running service starts (`inventory_watcher`, `volume.monitor`) and the plain functions of `names`,
`headers` and `audit`.
"""

from app.store.actor import SERVICE, Actor
from app.store.audit.audits import Audits, Report
from app.store.audit.findings import Finding, PruneOutcome, PrunePlan, PruneResult, Reason
from app.store.audit.storage import Storage
from app.store.deletions import Deletion, Deletions, Receipt
from app.store.headers.description import Description
from app.store.incoming.incoming import Conditions, Incoming, Published
from app.store.incoming.partials import Partial, PartialRecord
from app.store.incoming.staged_file import StagedFile
from app.store.integrity.verification import Verdict, Verification, Verifications
from app.store.inventory import Inventory, Model
from app.store.journal import Action, Journal, JournalEntry
from app.store.locks.leases import Blocker, Lease
from app.store.policy import Policy, Status
from app.store.protections import ManualProtection, Protection, Protections
from app.store.store import Store
from app.store.trash.folder import Purged
from app.store.trash.records import TrashEntry
from app.store.trash.trash import Trash
from app.store.volume.volume import Volume

__all__ = [
    "SERVICE",
    "Action",
    "Actor",
    "Audits",
    "Blocker",
    "Conditions",
    "Deletion",
    "Deletions",
    "Description",
    "Finding",
    "Incoming",
    "Inventory",
    "Journal",
    "JournalEntry",
    "Lease",
    "ManualProtection",
    "Model",
    "Partial",
    "PartialRecord",
    "Policy",
    "Protection",
    "Protections",
    "PruneOutcome",
    "PrunePlan",
    "PruneResult",
    "Published",
    "Purged",
    "Reason",
    "Receipt",
    "Report",
    "StagedFile",
    "Status",
    "Storage",
    "Store",
    "Trash",
    "TrashEntry",
    "Verdict",
    "Verification",
    "Verifications",
    "Volume",
]
