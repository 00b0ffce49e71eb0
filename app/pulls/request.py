"""What a pull is: which files of which repository, or which URL, and which models they are to be."""

import contextlib
import fnmatch
import hashlib
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any
from urllib.parse import unquote

from app.errors import ModelNotFound, PartialBusy, PartialNotFound, PullConflict
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.store.actor import Actor
from app.store.incoming.incoming import Conditions
from app.store.inventory import Model
from app.store.locks.model_locks import LOCK_SECONDS
from app.store.store import Store

PULL = "pull"
"""The kind of these jobs."""
PULLS_LOCK = "/pulls"
"""A lock name that no model can have: held while a pull is looked for, and made where there is none."""


class IfExists(StrEnum):
    """What to do about a model that is there already."""

    FAIL = "fail"
    KEEP = "keep"
    REPLACE = "replace"


@dataclass(frozen=True, slots=True)
class PullRequest:
    """One file or several of a repository, or one URL."""

    repository: str | None = None
    file: str | None = None
    """The file's path in the repository."""
    files: str | None = None
    """A shell pattern of several."""
    revision: str = "main"
    url: str | None = None
    name: str | None = None
    """The model that a URL is to be."""
    sha256: str | None = None
    if_exists: IfExists = IfExists.FAIL

    @property
    def target(self) -> str:
        """What it brings: a model's name, or the pattern of several."""
        if self.repository:
            return model_name(self.repository, self.file or self.files or "")
        path = re.split(r"[?#]", self.url or "", maxsplit=1)[0]
        return self.name or unquote(path.rpartition("/")[2])

    def to_record(self) -> dict[str, Any]:
        """For a job's record."""
        return asdict(self)

    @classmethod
    def from_record(cls, fields: dict[str, Any]) -> "PullRequest":
        """Of a job's record; raises TypeError, ValueError or KeyError when it is none."""
        return cls(**fields | {"if_exists": IfExists(fields["if_exists"])})


@dataclass(frozen=True, slots=True)
class Source:
    """One file somewhere else, and the model that it is to be."""

    name: str
    url: str
    size_bytes: int | None = None
    """None where nobody said."""
    sha256: str | None = None
    """What its bytes must have, if anybody said."""
    is_hub: bool = False

    @property
    def label(self) -> str:
        """Its URL for people, without what may be a signature."""
        return self.url.partition("?")[0]


def model_name(repository: str, file: str) -> str:
    """Where AsposeAI looks for a file of a repository: `<org>_<repo>/<file>`."""
    return f"{repository.replace('/', '_')}/{file}"


def matching(files: Iterable[str], pattern: str) -> list[str]:
    """The files of a repository that a pattern means, sorted."""
    return sorted(file for file in files if fnmatch.fnmatchcase(file, pattern))


def partial_id(job_id: str, name: str) -> str:
    """The id of what lies in staging of one model of one pull: whoever takes the job finds it."""
    return hashlib.sha256(f"{job_id}/{name}".encode()).hexdigest()[:32]


def plan(store: Store, source: Source, if_exists: IfExists) -> Conditions | None:
    """Under which conditions a source could be published now; None when the model that is there is to be kept.

    Raises what `Incoming.plan` raises, so StoreFull when it cannot fit.
    """
    present = _present(store, source.name)
    if present and (if_exists is IfExists.KEEP or _is_the_same(store, present, source, if_exists)):
        return None
    is_replacing = present is not None and if_exists is IfExists.REPLACE
    conditions = Conditions(if_match=frozenset({present.etag})) if present and is_replacing else Conditions()
    store.incoming.plan(source.name, conditions, source.size_bytes)
    return conditions


def request_of(job: Job) -> PullRequest | None:
    """What a pull is to bring; None when a newer service on the folder asked for more than this one understands."""
    try:
        return PullRequest.from_record(job.request)
    except (TypeError, ValueError, KeyError):
        return None


def find_running(jobs: Jobs, request: PullRequest) -> Job | None:
    """The unfinished pull that brings exactly this, if there is one.

    Raises PullConflict when another one brings something else to the same place, and StoreUnavailable.
    """
    for job in jobs.unfinished(PULL):
        other = request_of(job)
        if other == request:
            return job
        if other and other.target == request.target:
            raise PullConflict(request.target, job.id)
    return None


def join_or_create(store: Store, jobs: Jobs, request: PullRequest, actor: Actor) -> tuple[Job, bool]:
    """The same, or a new pull, and whether it is new. Raises what `Jobs.create` raises as well."""
    store.volume.check_writable()
    with store.locks.exclusive(PULLS_LOCK, seconds=LOCK_SECONDS):
        job = find_running(jobs, request)
        return (job, False) if job else (jobs.create(PULL, request.to_record(), actor), True)


def cancel(store: Store, jobs: Jobs, job_id: str) -> Job:
    """Ask for a pull's end. One that nobody runs ends at once, and leaves nothing. Raises what `Jobs.cancel` raises."""
    job = jobs.cancel(job_id)
    if job.is_finished:
        forget_partials(store, job_id)
    return job


def forget_partials(store: Store, job_id: str) -> None:
    """Remove what a pull that is finished left in staging."""
    for partial in store.incoming.partials():
        if partial.record and partial.record.extra.get("job_id") == job_id and not partial.is_active:
            with contextlib.suppress(PartialNotFound, PartialBusy):  # a sweep was faster, or is at it
                store.incoming.discard(partial.id)


def _present(store: Store, name: str) -> Model | None:
    try:
        return store.find(name)
    except ModelNotFound:
        return None


def _is_the_same(store: Store, present: Model, source: Source, if_exists: IfExists) -> bool:
    is_known = source.sha256 is not None and store.digests.of(present) == source.sha256
    return if_exists is IfExists.REPLACE and is_known
