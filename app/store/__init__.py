"""The store: the model folder and its rules. Knows neither HTTP nor the engine, jobs or pulls.

Other folders of `app` import the names in `__all__` from here. They import only these names from the modules
themselves: the watchers that a running service starts (`inventory_watcher`, `volume.monitor`), and the plain functions
of `names` and `audit`. All other names are private to the store.
"""

from app.store.actor import SERVICE, Actor
from app.store.audit.audits import Audits, Report
from app.store.audit.findings import Finding, Hint, PruneOutcome, PrunePlan, PruneResult, Reason
from app.store.audit.storage import Storage
from app.store.content import ContentChanged, ModelContent
from app.store.deletions import Deletion, Deletions, Receipt
from app.store.headers.description import Description
from app.store.headers.formats import Format, format_of_name
from app.store.incoming.incoming import SHA256, Incoming, Published
from app.store.incoming.partials import Partial, PartialRecord
from app.store.incoming.publish_conditions import Conditions
from app.store.incoming.receiving import write_all
from app.store.incoming.staged_file import StagedFile
from app.store.integrity.verification import OnRead, Verdict, Verification, Verifications
from app.store.inventory import Inventory, Model
from app.store.journal.entries import Action, JournalEntry
from app.store.journal.journal import Journal
from app.store.locks.leases import Blocker, Lease
from app.store.locks.model_locks import STORE_LOCK_SECONDS, is_leased
from app.store.policy import Policy, Status
from app.store.protections import ManualProtection, Protection, Protections
from app.store.store import Store
from app.store.trash.purging import Purged
from app.store.trash.records import TrashEntry
from app.store.trash.trash import Trash
from app.store.volume.checks import CheckName
from app.store.volume.claims import Claims
from app.store.volume.refusals import explaining_refusals
from app.store.volume.server_lookups import files_on_server
from app.store.volume.volume import Volume

__all__ = [
    "SERVICE",
    "SHA256",
    "STORE_LOCK_SECONDS",
    "Action",
    "Actor",
    "Audits",
    "Blocker",
    "CheckName",
    "Claims",
    "Conditions",
    "ContentChanged",
    "Deletion",
    "Deletions",
    "Description",
    "Finding",
    "Format",
    "Hint",
    "Incoming",
    "Inventory",
    "Journal",
    "JournalEntry",
    "Lease",
    "ManualProtection",
    "Model",
    "ModelContent",
    "OnRead",
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
    "explaining_refusals",
    "files_on_server",
    "format_of_name",
    "is_leased",
    "write_all",
]
