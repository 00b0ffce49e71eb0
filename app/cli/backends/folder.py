"""The model folder of this machine: the commands work without a service, under the locks that services take."""

import contextlib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from app.api.http.schema import DamagedRecordOut
from app.api.maintenance.schemas import JournalEntryOut, StorageOut, TrashEntryOut, VolumeCheckOut
from app.api.models.list_query import ListQuery
from app.api.models.list_renderer import ListRenderer
from app.api.models.model_view import ModelView, Sources
from app.api.models.schemas import (
    BlockerOut,
    ModelDetailOut,
    ModelHeaderOut,
    NeededForOut,
    ProtectionStateOut,
    ReceiptOut,
    protection_out,
    verification_out,
)
from app.build import build_jobs
from app.cli.backends.base import Json, OnBytes, OnRow, PruneChoice, PullEnd, PullWatch
from app.cli.backends.folder_pull import pull_into
from app.cli.backends.open_store import actor, open_store, warn
from app.cli.wording import sentence_of
from app.engine.contract.ocr_models import is_ocr_model, why_not_found
from app.engine.contract.wheel_facts import facts_of_installed
from app.errors import JobNotFound, TrashEntryNotFound
from app.jobs.folder import Jobs
from app.jobs.records import Job, JobState
from app.pulls.pull_jobs import PULL, PullJobs
from app.pulls.request import PullRequest
from app.settings import load_settings
from app.store import SHA256, Conditions, Description, Finding, Model, PruneOutcome, Store
from app.store.audit.findings import plan_prune
from app.store.volume.monitor import VolumeMonitor

CHUNK_BYTES = 4 << 20


class FolderBackend:
    """The `Backend` of the folder OCR_MODELS_DIR."""

    def __init__(self) -> None:
        self._opened: Store | None = None
        self._may_change = False

    def _store(self, *, to_change: bool = False, is_dry_run: bool = False) -> Store:
        """Return the store, opened once for all calls, and checked once before the first change."""
        is_change = to_change and not is_dry_run
        if self._opened is None or (is_change and not self._may_change):
            self._opened = open_store(to_change=to_change, is_dry_run=is_dry_run)
            self._may_change = is_change
        return self._opened

    def list_models(self, query: Mapping[str, Any]) -> Json:
        """List models, with the code that answers `GET /models`."""
        store = self._store()
        listed: Json = json.loads(ListRenderer(store.scan(), _view(store)).render(ListQuery(**query)))
        return listed

    def get_model(self, name: str) -> Json:
        """Get a model as it is on the disk now."""
        store = self._store()
        return _detail(store, *store.examine(name))

    def path(self, name: str | None) -> str:
        """Get the absolute path of the folder, or of one model."""
        return self._store().path_of(name)

    def upload(self, name: str, file: Path, *, replaces: bool, sha256: str | None, on_bytes: OnBytes) -> Json:
        """Copy a file into the folder: staged, checked, then published in one step."""
        store = self._store(to_change=True)
        conditions = Conditions(if_match=frozenset({"*"})) if replaces else Conditions()
        announced = {SHA256: [bytes.fromhex(sha256)]} if sha256 else {}
        with file.open("rb") as source:
            size_bytes = file.stat().st_size
            store.incoming.plan(name, conditions, size_bytes)
            staged = store.incoming.begin(size_bytes=size_bytes)
            try:
                while data := source.read(CHUNK_BYTES):
                    staged.write(data)
                    on_bytes(len(data))
                published = store.incoming.publish(name, staged, conditions, actor(), announced)
            finally:
                staged.drop()
        return _detail(store, published.model, published.description)

    def read(self, name: str) -> Iterator[bytes]:
        """Read a model as `GET /models/{name}/content` does: a deletion meanwhile does not change what is read."""
        with contextlib.closing(self._store().open_content(name)) as content:
            offset = 0
            while offset < content.model.size_bytes:
                data = content.read(offset, CHUNK_BYTES)
                offset += len(data)
                yield data

    def delete(self, name: str, *, permanent: bool, dry_run: bool) -> Json:
        """Delete a model under its lock."""
        store = self._store(to_change=True, is_dry_run=dry_run)
        plan = store.deletions.plan(name, permanent=permanent)
        receipt = plan.preview() if dry_run else store.deletions.delete(plan, actor())
        return ReceiptOut(**asdict(receipt), dry_run=dry_run).model_dump(mode="json")

    def protect(self, name: str, reason: str) -> Json:
        """Protect a model."""
        protection = self._store(to_change=True).protections.protect(name, reason, actor())
        state = ProtectionStateOut(name=name, protected=True, protected_by=protection_out(protection))
        return state.model_dump(mode="json")

    def unprotect(self, name: str) -> Json:
        """Remove the protection of a model."""
        self._store(to_change=True).protections.unprotect(name, actor())
        return ProtectionStateOut(name=name, protected=False, protected_by=None).model_dump(mode="json")

    def verify(self, name: str, on_bytes: OnBytes) -> Json:
        """Read a model and compare it with its recorded digest."""
        found = self._store(to_change=True).verifications.verify(name, actor(), on_bytes)
        return verification_out(found).model_dump(mode="json")

    def audit(self) -> list[Json]:
        """Judge every model, however long the reading of headers takes."""
        store = self._store()
        findings, _ = store.audits.judge(store.scan(), seconds=math.inf)
        return [_finding(finding) for finding in findings]

    def prune(self, choice: PruneChoice, on_row: OnRow, *, executes: bool) -> None:
        """Plan a prune, and with `executes` delete its models."""
        store = self._store(to_change=True, is_dry_run=not executes)
        findings, _ = store.audits.judge(store.scan(), seconds=math.inf)
        plan = plan_prune(findings, choice.reasons, permanent=choice.permanent, include=choice.hints)
        if executes:
            store.audits.execute(plan, actor(), lambda outcome: on_row(_pruned(outcome)))
        else:
            for finding in plan.findings:
                on_row(_pruned(PruneOutcome(finding)))

    def trash(self) -> list[Json]:
        """List the entries of the trash."""
        entries = self._store().trash.entries()
        return [TrashEntryOut.model_validate(entry).model_dump(mode="json") for entry in entries]

    def restore(self, trash_id: str, name: str | None) -> Json:
        """Restore a deleted model."""
        store = self._store(to_change=True)
        return _view(store).describe(store.trash.restore(trash_id, name, actor())).model_dump(mode="json")

    def purge(self, trash_id: str) -> Json | None:
        """Delete an entry of the trash for good."""
        store = self._store(to_change=True)
        try:
            return TrashEntryOut.model_validate(store.trash.purge(trash_id, actor()).entry).model_dump(mode="json")
        except TrashEntryNotFound:
            return None

    def journal(self, limit: int) -> list[Json]:
        """List the last changes by any service and command."""
        return [
            JournalEntryOut.model_validate(event).model_dump(mode="json")
            for event in self._store().journal.latest(limit)
        ]

    def storage(self) -> Json:
        """Measure the folder; check what its file system can do, unless the settings or the disk allow no change."""
        settings, store = load_settings(), self._store()
        monitor = VolumeMonitor(store.volume, warn, is_single=settings.single_service)
        if store.volume.is_writable and not settings.read_only:
            monitor.check_before_change()
        return StorageOut(
            **asdict(store.measure(store.scan())),
            is_safe=store.volume.unsafe is None,
            checks=[VolumeCheckOut.model_validate(check) for check in monitor.checks],
            damaged_records=[DamagedRecordOut.model_validate(each) for each in store.volume.records.damaged()],
        ).model_dump(mode="json")

    def jobs(self, kinds: Sequence[str], state: str | None, limit: int) -> list[Json]:
        """List jobs of any service and command on the folder."""
        store = self._store()
        found = build_jobs(store).newest(kinds, JobState(state) if state else None)
        return [_job(store, job) for job, _ in zip(found, range(limit), strict=False)]

    def job(self, kind: str, job_id: str) -> Json:
        """Get one job."""
        store = self._store()
        return _job(store, _of_kind(build_jobs(store), kind, job_id))

    def cancel(self, kind: str, job_id: str) -> Json:
        """Cancel a job; the process that runs it notices that within a second."""
        store = self._store(to_change=True)
        jobs = build_jobs(store)
        _of_kind(jobs, kind, job_id)
        return _job(store, PullJobs(store, jobs).cancel(job_id) if kind == PULL else jobs.cancel(job_id))

    def pull(self, request: PullRequest, watch: PullWatch) -> PullEnd:
        """Pull models in this process, unless a service on the folder takes the job first."""
        store = self._store(to_change=True)
        end = pull_into(load_settings(), store, request, watch)
        return PullEnd(_job(store, end.job) if end.job else None, end.published)


def _view(store: Store) -> ModelView:
    """Return the view of the list. Without a service it is not known which models the engine recognises."""
    return ModelView(
        store.root, store.policy, Sources(store.protections.manual(), store.locks.leased_positions(), facts=None)
    )


def _detail(store: Store, model: Model, header: Description) -> Json:
    facts = facts_of_installed(load_settings().state_dir.resolve())
    needed_for = None
    if facts and is_ocr_model(model.name):
        uses = facts.uses_of(model.name.rpartition("/")[2])
        needed_for = NeededForOut(**{group: uses.get(group, []) for group in NeededForOut.model_fields})
    protection = store.protections.of(model.name)
    return ModelDetailOut(
        **dict(_view(store).describe(model)) | {"protected": protection is not None},
        header=ModelHeaderOut.model_validate(header),
        sha256=store.digests.of(model),
        corrupt_since=store.digests.corrupt_since(model),
        blockers=[BlockerOut.model_validate(blocker) for blocker in store.locks.blockers(model.name)],
        protected_by=protection_out(protection),
        needed_for=needed_for,
        remark=why_not_found(model.name),
    ).model_dump(mode="json")


def _finding(finding: Finding) -> Json:
    return {
        "status": finding.status,
        "name": finding.model.name,
        "size_bytes": finding.model.size_bytes,
        "reasons": [reason.value for reason in finding.reasons],
        "hints": [hint.value for hint in finding.hints],
        "superseded_by": finding.superseded_by,
        "corrupt": finding.corrupt,
        "protected_by": finding.protection.because if finding.protection else None,
    }


def _pruned(outcome: PruneOutcome) -> Json:
    finding, receipt = outcome.finding, outcome.receipt
    return {
        "name": finding.model.name,
        "size_bytes": finding.model.size_bytes,
        "reasons": [reason.value for reason in finding.reasons],
        "hints": [hint.value for hint in finding.hints],
        "outcome": outcome.result.value,
        "detail": sentence_of(outcome.error) if outcome.error else None,
        "trash_id": receipt.trash_id if receipt else None,
        "freed_bytes": receipt.freed_bytes if receipt else 0,
    }


def _of_kind(jobs: Jobs, kind: str, job_id: str) -> Job:
    job = jobs.get(job_id)
    if job.kind != kind:
        raise JobNotFound(job_id)
    return job


def _job(store: Store, job: Job) -> Json:
    from app.api.jobs.schemas import describe  # noqa: PLC0415 - a tenth of a second that other commands need not wait
    from app.webhooks.records import delivery_of  # noqa: PLC0415 - see above

    return describe(job, delivery_of(store.volume, job)).model_dump(mode="json")
