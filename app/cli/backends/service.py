"""A running service, asked over HTTP: the same commands as on the folder, and those that need the engine."""

import base64
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any
from urllib.parse import quote

from app.api.engine.schemas import EngineOut, LoadedOut, ReleaseOut
from app.api.engine.service_schemas import EnginesOut
from app.api.jobs.schemas import JobListOut, JobOut
from app.api.maintenance.schemas import AuditOut, JournalOut, PruneOut, PurgeOut, StorageOut, TrashListOut
from app.api.models.schemas import (
    ModelDetailOut,
    ModelListOut,
    ModelOut,
    PathOut,
    ProtectionStateOut,
    ReceiptOut,
    VerificationOut,
)
from app.api.resources.schemas import ResourceListOut
from app.cli.backends.base import Json, OnBytes, OnRow, PruneChoice, PullEnd, PullWatch
from app.cli.backends.service_client import RefusedByService, ServiceClient, WrongAnswer, model_path, path_of, query_of
from app.cli.wording import in_commands
from app.jobs.units.kinds import ItemJobKind
from app.pulls.pull_jobs import PULL
from app.pulls.request import PullRequest

CHUNK_BYTES = 1 << 20
POLL_SECONDS = 0.5
"""How often the job of a pull is asked for its progress."""
JOBS = {PULL: "/pulls", ItemJobKind.TEXTS: "/ai/jobs", ItemJobKind.IMAGES: "/ocr/jobs"}
"""The path of the jobs of each kind."""
PAGE_JOBS = 1000
"""The most jobs that the API gives on one page."""
FINISHED = {"succeeded", "failed", "cancelled"}


class ServiceBackend:
    """The `Backend` of a running service, and its engine."""

    def __init__(self, client: ServiceClient) -> None:
        self.client = client

    def list_models(self, query: Mapping[str, Any]) -> Json:
        """List models."""
        return self.client.get("/models", ModelListOut, query_of(query))

    def get_model(self, name: str) -> Json:
        """Get a model."""
        return self.client.get(model_path(name), ModelDetailOut)

    def path(self, name: str | None) -> str:
        """Get the absolute path on the service's machine."""
        return str(self.client.get("/models/path", PathOut, query_of({"name": name}))["path"])

    def upload(self, name: str, file: Path, *, replaces: bool, sha256: str | None, on_bytes: OnBytes) -> Json:
        """Send a file in one request."""
        headers = {"content-type": "application/octet-stream", "content-length": str(file.stat().st_size)}
        if replaces:
            headers["if-match"] = "*"
        if sha256:
            digest = base64.b64encode(bytes.fromhex(sha256)).decode()
            headers["repr-digest"] = f"sha-256=:{digest}:"
        content = _chunks(file, on_bytes)
        return self.client.json("PUT", model_path(name), ModelDetailOut, content=content, headers=headers, is_long=True)

    def read(self, name: str) -> Iterator[bytes]:
        """Download a model. The service cuts the connection if the file changes meanwhile."""
        yield from self.client.download(model_path(name, "content"))

    def delete(self, name: str, *, permanent: bool, dry_run: bool) -> Json:
        """Delete a model."""
        query = query_of({"permanent": permanent, "dry_run": dry_run})
        return self.client.json("DELETE", model_path(name), ReceiptOut, params=query)

    def protect(self, name: str, reason: str) -> Json:
        """Protect a model."""
        return self.client.json("PUT", model_path(name, "protection"), ProtectionStateOut, json={"reason": reason})

    def unprotect(self, name: str) -> Json:
        """Remove the protection of a model."""
        return self.client.json("DELETE", model_path(name, "protection"), ProtectionStateOut)

    def verify(self, name: str, on_bytes: OnBytes) -> Json:
        """Have a model verified. Its bytes are reported at the end, because the service tells no progress."""
        found = self.client.json("POST", model_path(name, "verify"), VerificationOut, is_long=True)
        on_bytes(found["size_bytes"])
        return found

    def audit(self) -> list[Json]:
        """Get the service's audit."""
        return [_finding(finding) for finding in self.client.get("/audit", AuditOut)["models"]]

    def prune(self, choice: PruneChoice, on_row: OnRow, *, executes: bool) -> None:
        """Plan a prune, and with `executes` execute that plan."""
        body = {"reasons": choice.reasons, "include": choice.hints, "permanent": choice.permanent}
        answer = self.client.json("POST", "/prune", PruneOut, json=body, is_long=True)
        if executes:
            body |= {"plan_id": answer["plan_id"], "dry_run": False}
            answer = self.client.json("POST", "/prune", PruneOut, json=body, is_long=True)
        for pruned in answer["models"]:
            pruned.pop("problem", None)
            on_row(pruned | {"detail": in_commands(pruned["detail"]) if pruned["detail"] else None})

    def trash(self) -> list[Json]:
        """List the entries of the trash."""
        entries: list[Json] = self.client.get("/trash", TrashListOut)["entries"]
        return entries

    def restore(self, trash_id: str, name: str | None) -> Json:
        """Restore a deleted model."""
        return self.client.json("POST", path_of("trash", trash_id, "restore"), ModelOut, params=query_of({"as": name}))

    def purge(self, trash_id: str) -> Json | None:
        """Delete an entry of the trash for good."""
        try:
            entries = self.client.json("DELETE", path_of("trash", trash_id), PurgeOut)["entries"]
        except RefusedByService as exc:
            if exc.slug == "trash-entry-not-found":
                return None
            raise
        return dict(entries[0]) if entries else None

    def journal(self, limit: int) -> list[Json]:
        """List the last changes."""
        events: list[Json] = self.client.get("/journal", JournalOut, query_of({"limit": limit}))["events"]
        return events

    def storage(self) -> Json:
        """Measure the folder and its disk."""
        return self.client.get("/storage", StorageOut)

    def jobs(self, kinds: Sequence[str], state: str | None, limit: int) -> list[Json]:
        """List jobs: the newest of each kind, merged by their ids, which sort by time."""
        query = query_of({"state": state, "limit": min(limit, PAGE_JOBS)})
        found = [job for kind in kinds for job in self.client.get(JOBS[kind], JobListOut, query)["jobs"]]
        return sorted(found, key=lambda job: str(job["id"]), reverse=True)[:limit]

    def job(self, kind: str, job_id: str) -> Json:
        """Get one job."""
        return self.client.get(JOBS[kind] + path_of(job_id), JobOut)

    def cancel(self, kind: str, job_id: str) -> Json:
        """Cancel a job."""
        return self.client.json("DELETE", JOBS[kind] + path_of(job_id), JobOut)

    def pull(self, request: PullRequest, watch: PullWatch) -> PullEnd:
        """Have models pulled by the service, and wait for the end."""
        fields = {name: value for name, value in asdict(request).items() if value is not None}
        if not request.repository:
            fields.pop("revision")
        job = self.client.json("POST", "/pulls", JobOut, json=fields)
        try:
            while job["state"] not in FINISHED:
                watch.on_progress(job["progress"]["done"], job["progress"]["total"])
                time.sleep(POLL_SECONDS)
                job = self.job(PULL, job["id"])
        except KeyboardInterrupt:
            self.cancel(PULL, job["id"])
            return PullEnd(None, [])
        _check_result(job["result"])
        watch.on_progress(job["progress"]["done"], job["progress"]["total"])
        return PullEnd(job, [])

    def resources(self) -> Json:
        """List the OCR models that the site offers, that the folder has, and that the engine needs."""
        return self.client.get("/resources", ResourceListOut)

    def engine(self) -> Json:
        """Get the state of the engine."""
        return self.client.get("/engine", EngineOut)

    def engines(self) -> list[Json]:
        """List the engines of all services on the folder."""
        found: list[Json] = self.client.get("/engines", EnginesOut)["engines"]
        return found

    def load(self, processor: str, model: str | None) -> Json:
        """Load a model into the engine."""
        body = {"processor": processor} | ({"model": model} if model else {})
        return self.client.json("POST", "/engine/load", LoadedOut, json=body, is_long=True)

    def release(self) -> Json:
        """Release the engine: end its process, and start another."""
        return self.client.json("POST", "/engine/release", ReleaseOut, is_long=True)

    def recognise(self, file: Path, options: Mapping[str, str], password: str | None) -> bytes:
        """Recognise a file, and return the answer in the format that the option `format` names."""
        headers = {"content-type": "application/octet-stream", "content-length": str(file.stat().st_size)}
        if password is not None:
            headers["x-pdf-password"] = quote(password)
        with file.open("rb") as content:
            answer = self.client.ask("POST", "/ocr", params=options, content=content, headers=headers, is_long=True)
        return answer.content


def _check_result(result: Json | None) -> None:
    """Raise WrongAnswer if the result of a pull is none: JobOut leaves open what the result of a job has."""
    if result is None:
        return
    models = result["models"]
    if not isinstance(models, list) or not all(isinstance(each, dict) for each in models):
        raise WrongAnswer("'result.models' in its answer has another type", is_change=True)


def _chunks(file: Path, on_bytes: OnBytes) -> Iterator[bytes]:
    with file.open("rb") as source:
        while data := source.read(CHUNK_BYTES):
            yield data
            on_bytes(len(data))


def _finding(finding: Json) -> Json:
    """Return a model of the audit as the command line prints it."""
    protection = finding["protected_by"]
    return {
        name: finding[name] for name in ("status", "name", "size_bytes", "reasons", "hints", "superseded_by", "corrupt")
    } | {"protected_by": (protection["pattern"] or protection["reason"]) if protection else None}
