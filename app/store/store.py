"""The store: one model folder, and the parts that enforce its rules. Every method blocks: call it from a thread."""

import os
from collections.abc import Callable, Iterable
from datetime import timedelta
from functools import partial
from pathlib import Path

from app.errors import StoreError
from app.events import EventName, OnEvent
from app.store.audit.audits import Audits
from app.store.audit.storage import Storage, measure
from app.store.content import ModelContent, open_model
from app.store.deletions import Deletions
from app.store.expiry import Expiry, FolderClock
from app.store.headers.description import Description, describe
from app.store.incoming.disk_space import DiskSpace
from app.store.incoming.incoming import Incoming
from app.store.incoming.partials import PartialRecord
from app.store.integrity.corruption import HeaderCheckCache
from app.store.integrity.digests import Digests
from app.store.integrity.verification import Verifications
from app.store.inventory import Inventory, Model
from app.store.journal.journal import Journal
from app.store.locks.leases import Lease
from app.store.locks.model_locks import STORE_LOCK_SECONDS, ModelLocks
from app.store.policy import Policy
from app.store.protections import Protections
from app.store.trash.folder import TrashFolder
from app.store.trash.purging import Purged
from app.store.trash.records import TrashEntry
from app.store.trash.trash import Trash
from app.store.volume.claims import Claims
from app.store.volume.filesystem import FileSystem
from app.store.volume.refusals import explaining_refusals
from app.store.volume.scan import OnFolder, rescan, scan
from app.store.volume.volume import Volume


class Store:
    """One model folder and its rules. Any number of processes may open a store on one folder at once.

    `Store` finds, reads and leases models. Its parts make the changes: `incoming`, `deletions`, `trash`, `protections`,
    `verifications` and `audits`. Each part checks the volume before it changes anything.
    """

    def __init__(
        self,
        root: Path,
        policy: Policy,
        *,
        trash_retention: timedelta,
        on_event: OnEvent,
        file_system: FileSystem | None = None,
        needed_ocr_models: Callable[[], frozenset[str] | None] = lambda: None,
    ) -> None:
        """If `file_system` is None, `open()` reads the folder's file system from the mount table.

        `needed_ocr_models` returns the file names of the OCR models that the vendor's package asks for; None if they
        are not known. Then no OCR model is superseded.
        """
        self._on_event = on_event
        self.policy = policy
        self.volume = volume = Volume(root, file_system, on_event)
        self.locks = locks = ModelLocks(volume.lock_file, volume.records)
        self.claims = Claims(volume)
        self.clock = clock = FolderClock(volume.clock_file, volume.journal_file)
        self.journal = journal = Journal(volume, locks, on_event)
        self.digests = digests = Digests(volume.digests_dir, volume.corrupt_dir, self.claims, volume.records)
        self.protections = protections = Protections(volume, locks, policy, journal)
        keeps = trash_retention > timedelta(0)
        folder = TrashFolder(volume, locks, self.claims, digests, trash_retention, clock)
        self.trash = Trash(volume, locks, folder, digests, journal, Expiry(clock))
        self.deletions = Deletions(volume, locks, protections, folder, digests, journal, keeps_deleted=keeps)
        disk_space = DiskSpace(volume.root, folder, self.trash.make_space)
        self.incoming = Incoming(
            volume,
            locks,
            protections,
            digests,
            folder,
            disk_space,
            journal,
            self.claims,
            Expiry(clock),
            keeps_replaced=keeps,
        )
        self.verifications = Verifications(volume, locks, digests, self.lease)
        headers = HeaderCheckCache(self.examine)
        self.audits = Audits(
            policy,
            protections,
            digests,
            headers,
            locks,
            self.incoming,
            self.trash,
            self.deletions,
            needed_ocr_models,
        )

    @property
    def root(self) -> Path:
        """The absolute path of the model folder, with links resolved."""
        return self.volume.root

    def open(self) -> None:
        """Create the model folder and its `.store/` if they are missing. Raises StoreUnavailable."""
        self.volume.prepare()

    # Finding and reading models.

    def scan(
        self, before: Inventory | None = None, on_folder: OnFolder = lambda *_: None, rest: float = 0.0
    ) -> Inventory:
        """Scan the whole folder, and return the inventory.

        A model that has not changed since the inventory `before` is the identical object in the result. `on_folder` is
        called with each folder before the scan reads the folder. Between its steps the scan sleeps `rest` times as long
        as it computes. Raises StoreUnavailable.
        """
        self.volume.check()
        return scan(self.root, before, on_folder, rest)

    def rescan(
        self, before: Inventory, names: Iterable[str], on_folder: OnFolder = lambda *_: None
    ) -> tuple[Inventory, bool]:
        """Return the inventory `before`, brought up to date only at the paths in `names`. Raises StoreUnavailable.

        The second result is False if a full scan is needed because these paths contain too many files.
        """
        self.volume.check()
        return rescan(self.root, before, names, on_folder)

    def find(self, name: str) -> Model:
        """Get a model as it is on the disk now.

        Raises InvalidModelName, NotAModel, ModelNotFound, StoreUnavailable.
        """
        return self.volume.find(name)

    def path_of(self, name: str | None) -> str:
        """Return the absolute path of a model, or of the model folder if `name` is None. Raises what `find` raises."""
        if name is None:
            self.volume.check()
            return str(self.root)
        return f"{self.root}/{self.find(name).name}"

    def examine(self, name: str) -> tuple[Model, Description]:
        """Get a model and the description of its header. Raises what `find` raises.

        If the file cannot be read, the description names the problem.
        """
        self.volume.check()
        with self.volume.parent_of(name) as (folder, leaf):
            model = self.volume.find_in(folder, leaf, name)
            try:
                file = open_model(self.volume, folder, leaf, name)
            except OSError as exc:
                return model, Description("unknown", f"it cannot be read: {exc.strerror}", {})
            try:
                return model, describe(file, model.size_bytes, name)
            finally:
                os.close(file)

    def open_content(self, name: str) -> ModelContent:
        """Open a model's file for reading. Raises what `find` raises, and OSError if the file cannot be read."""
        return ModelContent.open(self.volume, name)

    def measure(self, inventory: Inventory) -> Storage:
        """Measure the bytes that models, trash and partial files take, and the free space. Raises StoreUnavailable."""
        return measure(self.volume, inventory)

    # Using a model.

    def lease(self, name: str, *, kind: str, holder: str | None = None, pid: int | None = None) -> Lease:
        """Take a lease on a model, so that no process changes the model while it is used.

        `kind`, `holder` and `pid` name the user of the model, see `ModelLocks.lease`. Raises InvalidModelName,
        NotAModel, ModelNotFound, ModelLocked, StoreUnavailable.
        """
        self.volume.find(name)
        lease = self.locks.lease(name, kind=kind, holder=holder, pid=pid, seconds=STORE_LOCK_SECONDS)
        try:
            self.volume.find(name)  # the model may have been deleted just before the lease began; now it cannot be
        except BaseException:
            lease.release()
            raise
        return lease

    # Cleaning up.

    def sweep(self, is_job_over: Callable[[str], bool] = lambda _: False) -> list[Purged]:
        """Purge expired trash entries, and complete or undo what killed processes left unfinished.

        Returns the purged entries. `is_job_over` receives a job's id and returns True if the job has ended: then the
        sweep deletes the job's partial file. Raises StoreUnavailable, StoreReadOnly, StoreDenied and StoreUnsafe.
        """
        self.volume.check_writable()
        purged = list[Purged]()

        def purge(entry: TrashEntry) -> None:
            purged.extend(self.trash.purge_expired(entry))

        def purge_expired() -> None:
            for entry in self.trash.expired():
                # One step for each entry, so that an entry that cannot be purged does not stop the others.
                self._sweep_step(partial(purge, entry))

        def recover() -> None:
            purged.extend(self.trash.recover())

        sweep_staging = partial(self._sweep_staging, is_job_over)
        for step in (
            self.protections.write_again_if_removed,
            purge_expired,
            recover,
            self.claims.recover,
            sweep_staging,
            self.locks.sweep,
            self.clock.keep,
        ):
            self._sweep_step(step)
        return purged

    def _sweep_staging(self, is_job_over: Callable[[str], bool]) -> None:
        def has_ended(record: PartialRecord) -> bool:
            job_id = record.extra.get("job_id")
            return job_id is not None and is_job_over(job_id)

        if swept := self.incoming.sweep(has_ended):
            self._on_event(EventName.STAGING_SWEPT, {"files": swept})

    def _sweep_step(self, step: Callable[[], object]) -> None:
        """Run one step of a sweep. An error is reported as an event, not raised, so that the next steps still run."""
        try:
            with explaining_refusals():
                step()
        except (StoreError, OSError) as exc:
            self._on_event(EventName.TRASH_SWEEP_FAILED, {"error": str(exc)})
