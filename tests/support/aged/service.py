"""The store and the jobs of one service, in a process with the library. Tests run two such processes on one folder.

    python -m tests.support.aged.service

Reads one JSON object per line, `{"verb": …, <the verb's arguments>}`, and answers each with one: `{"done": …}`, for an
error of the store `{"refused": "ModelExists", "detail": …}`, for any other error `{"failed": "Traceback …"}`.
"""

import contextlib
import ctypes
import json
import os
import sys
import traceback
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from app.build import build_jobs
from app.errors import StoreError
from app.jobs.folder import Jobs
from app.jobs.sweep import sweep_jobs
from app.jobs.units.unit_claims import Claim, Outcome
from app.store.actor import Actor
from app.store.audit.findings import Hint, Reason, audit, plan_prune
from app.store.incoming.partials import PartialRecord
from app.store.incoming.publish_conditions import Conditions
from app.store.incoming.staged_file import StagedFile
from app.store.locks.leases import Lease
from app.store.policy import Policy
from app.store.records.forms import RecordDamaged
from app.store.store import Store
from app.store.volume.filesystem import FileSystem
from tests.support.held_jobs import create_pull

PARTIAL_RETENTION = timedelta(hours=1)
VERB_SECONDS = 0.1
"""How much older the cache grows with each verb. Its time passes in no other way, so that every run is the same."""
Answer = dict[str, Any]


def opened_store(root: Path, retention_seconds: float, service: "Service") -> Store:
    """Open the store of a service on a folder that other machines share."""
    retention = timedelta(seconds=retention_seconds)
    file_system = FileSystem("nfs4")  # no mount of this machine has this type
    store = Store(root, Policy(), trash_retention=retention, on_event=service.on_event, file_system=file_system)
    store.open()
    return store


class Service:
    """One service. Each public method is a verb."""

    def __init__(self) -> None:
        self._aged = ctypes.CDLL(None)
        self._actor = Actor(f"service {os.getpid()}")
        self._held = contextlib.ExitStack()
        self._leases: dict[str, Lease] = {}
        self._staged: dict[str, StagedFile] = {}
        self._held_jobs: dict[str, Claim] = {}
        self._store: Store
        self._jobs: Jobs

    def on_event(self, event: str, fields: Answer) -> None:
        """Fail for a change that is missing in the journal."""
        if event == "journal.failed":
            raise AssertionError(fields)

    def answer_to(self, message: Answer) -> Answer:
        """Do the verb of a message and return the answer."""
        verb = getattr(self, message.pop("verb"))
        self.let_pass(VERB_SECONDS)
        try:
            return {"done": verb(**message)}
        except StoreError as exc:
            return {"refused": type(exc).__name__, "detail": str(exc)}
        except Exception:  # noqa: BLE001 - the test shows the traceback
            return {"failed": traceback.format_exc()}

    # The cache.

    def reset(self, root: str, retention_seconds: float, ageing: Answer) -> None:
        """Release everything, and become a new service on another folder, with an empty cache."""
        self._held.close()
        for held in (self._leases, self._staged, self._held_jobs):
            held.clear()
        seconds, forever = ctypes.c_double(ageing["seconds"]), int(ageing["forever"])
        self._aged.aged_stand_still(1)
        self.delay(0)
        self._aged.aged_configure(os.fsencode(root), seconds, forever)
        options = ("old_attributes", "old_lists", "no_rename_flags", "asks_again")
        self._aged.aged_options(*(int(ageing[option]) for option in options))
        self._store = opened_store(Path(root), retention_seconds, self)
        self._jobs = build_jobs(self._store)

    def let_pass(self, seconds: float) -> None:
        """Let the cache grow older by some seconds, without waiting."""
        self._aged.aged_pass(ctypes.c_double(seconds))

    def delay(self, seconds: float) -> None:
        """Let each later change of the folder take some seconds."""
        self._aged.aged_latency(ctypes.c_double(seconds))

    # Models.

    def scan(self) -> dict[str, str]:
        """Return the models and their ETags, as this service sees them."""
        return {name: model.etag for name, model in self._store.scan().models.items()}

    def find(self, name: str) -> str:
        """Return the ETag of a model, as this service sees it."""
        return self._store.find(name).etag

    def upload(
        self, name: str, content: str, if_match: list[str] | None = None, if_none_match: list[str] | None = None
    ) -> str:
        """Publish a model and return its ETag."""
        staged = self._store.incoming.begin(size_bytes=len(content))
        try:
            staged.write(content.encode())
            conditions = _conditions(if_match, if_none_match)
            return self._store.incoming.publish(name, staged, conditions, self._actor).model.etag
        finally:
            staged.discard()

    def delete(self, name: str, permanent: bool = False, if_match: list[str] | None = None) -> str | None:  # noqa: FBT001, FBT002 - JSON names it
        """Delete a model and return the id of its trash entry."""
        plan = self._store.deletions.plan(name, if_match=if_match, permanent=permanent)
        return self._store.deletions.delete(plan, self._actor).trash_id

    def prune(self) -> list[tuple[str, str]]:
        """Delete the old models that this service sees, and return their names and ETags."""
        findings = audit(self._store.scan(), self._store.policy, self._store.protections)
        outcomes = self._store.audits.execute(plan_prune(findings, Reason, permanent=False, include=Hint), self._actor)
        return [(out.finding.model.name, out.finding.model.etag) for out in outcomes if out.receipt]

    def protect(self, name: str) -> None:
        self._store.protections.protect(name, "because", self._actor)

    def unprotect(self, name: str) -> None:
        self._store.protections.unprotect(name, self._actor)

    def lease(self, name: str) -> None:
        """Lease a model until `release`."""
        self._leases[name] = self._held.enter_context(self._store.lease(name, kind="engine"))

    def release(self, name: str) -> None:
        self._leases.pop(name).release()

    # The trash.

    def trash(self) -> list[str]:
        return [entry.id for entry in self._store.trash.entries()]

    def restore(self, trash_id: str, as_name: str | None = None) -> str:
        """Restore an entry of the trash and return the model's name."""
        return self._store.trash.restore(trash_id, as_name, self._actor).name

    def purge(self, trash_id: str) -> None:
        self._store.trash.purge(trash_id, self._actor)

    def sweep(self) -> list[str]:
        purged = self._store.sweep(self._jobs.needs_no_partials)
        sweep_jobs(self._jobs, timedelta(hours=24))
        return [each.entry.id for each in purged]

    # Uploads in parts.

    def begin(self, partial_id: str, name: str) -> None:
        """Begin a resumable upload and hold it."""
        now = datetime.now(UTC)
        record = PartialRecord(partial_id, name, "pull", self._actor.name, None, now, PARTIAL_RETENTION)
        self._has(partial_id, self._store.incoming.begin(keep=record))

    def resume(self, partial_id: str) -> int:
        """Hold a resumable upload again and return its offset."""
        staged, _ = self._store.incoming.resume(partial_id)
        self._has(partial_id, staged)
        return staged.size_bytes

    def append(self, partial_id: str, content: str) -> None:
        self._staged[partial_id].write(content.encode())

    def release_upload(self, partial_id: str) -> None:
        self._staged.pop(partial_id).release()

    def publish(self, partial_id: str, name: str, if_match: list[str] | None = None) -> str:
        """Publish the held upload, release it, and return the model's ETag."""
        staged = self._staged.pop(partial_id)
        try:
            conditions = _conditions(if_match, None)
            return self._store.incoming.publish(name, staged, conditions, self._actor).model.etag
        finally:
            staged.release()

    def discard(self, partial_id: str) -> None:
        """Cancel an upload that no service holds."""
        self._store.incoming.discard(partial_id)

    def _has(self, partial_id: str, staged: StagedFile) -> None:
        self._held.callback(staged.release)
        self._staged[partial_id] = staged

    # Jobs.

    def create_job(self) -> str:
        return create_pull(self._jobs, actor=self._actor).id

    def take_job(self, job_id: str) -> bool:
        """Take a job and return True; False if it is held or finished."""
        try:
            held = self._jobs.units.claims.claim(self._jobs.get(job_id))
        except RecordDamaged:  # a file that another service has made is not seen yet; the order of units goes on, too
            return False
        if held:
            self._held_jobs[job_id] = held
            self._held.callback(held.release)
        return held is not None

    def release_job(self, job_id: str) -> None:
        self._held_jobs.pop(job_id).release()

    def finish_job(self, job_id: str) -> None:
        """Finish a held job as succeeded, and release it."""
        held = self._held_jobs.pop(job_id)
        try:
            self._jobs.units.claims.complete(held, Outcome("{}"))
        finally:
            held.release()

    def cancel_job(self, job_id: str) -> str:
        """Cancel a job and return its state."""
        return str(self._jobs.cancel(job_id).state)


def _conditions(if_match: list[str] | None, if_none_match: list[str] | None) -> Conditions:
    return Conditions(
        None if if_match is None else frozenset(if_match), None if if_none_match is None else frozenset(if_none_match)
    )


def main() -> None:
    service = Service()
    for line in sys.stdin:
        print(json.dumps(service.answer_to(json.loads(line))), flush=True)


if __name__ == "__main__":
    main()
