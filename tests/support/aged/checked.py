"""Checks the real folder of two services against what they have acknowledged, after each action of one of them.

Every content has its own size, so that the journal's lines, which have sizes, show which content was removed.
"""

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from tests.support.aged.two import LONG, Ageing, Answer, Found, TwoServices, find

LARGEST = 1000
"""Whole uploads are smaller than this, in bytes, and parts of uploads larger. It also limits the number of uploads."""
LOOKS = 30
"""How often the other service lists the trash during a deletion: often enough to meet it half done."""


@dataclass
class Part:
    """A resumable upload, and what its service has acknowledged."""

    name: str
    number: int
    holder: int | None
    """The service that holds the upload; None if no service does."""
    content: str = ""
    """The acknowledged bytes, as text."""
    is_over: bool = False
    """True if the upload was published or cancelled, or a cancellation was requested."""


@dataclass
class Job:
    """A job and its holder."""

    holder: int | None = None
    is_finished: bool = False


@dataclass
class Promised:
    """What the services have acknowledged, and what they were asked to do."""

    sent: dict[int, bytes] = field(default_factory=dict)
    """Every content that may become a model, by its size."""
    places: dict[int, set[str]] = field(default_factory=lambda: defaultdict(set))
    """The names at which each acknowledged upload may be, by the upload's size."""
    may_be_purged: set[str] = field(default_factory=set)
    may_be_deleted: set[str] = field(default_factory=set)
    protected: set[str] = field(default_factory=set)
    leased: dict[str, int] = field(default_factory=dict)
    """The service that leases each model."""
    parts: dict[str, Part] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)
    trash_ids: list[str] = field(default_factory=list)
    """All ids of trash entries so far."""


class Checked:
    """Sends actions to two services, and checks the folder after each. Fails with an AssertionError."""

    def __init__(self, services: TwoServices, ageing: Ageing, retention_seconds: float = LONG) -> None:
        services.reset(ageing, retention_seconds)
        self.services = services
        self.promised = Promised()
        self.keeps_trash = retention_seconds == LONG
        self.now: Found = find(services.root)
        self.etags: dict[str, list[str]] = defaultdict(list)
        """The ETags that each name has had; the present one is the last."""

    # Models.

    def content(self) -> str:
        """Return a content that no other upload has."""
        number = len(self.promised.sent) + 1
        content = f"content {number} ".ljust(50 + number, ".")
        assert len(content) < LARGEST
        self.promised.sent[len(content)] = content.encode()
        return content

    def upload(self, by: int, name: str, **conditions: list[str]) -> Answer:
        """Upload a new content to a name."""
        content = self.content()
        answer = self.services.ask(by, "upload", name=name, content=content, **conditions)
        self._published(answer, name, content.encode(), conditions)
        return answer

    def at_once(self, name: str, verbs: tuple[str, str]) -> list[Answer]:
        """Let both services act on one version of a model at the same time: at most one of them may change it."""
        etags = [self.now.etags[name]] if name in self.now.etags else None
        asked = [self._exactly(verb, name, etags) for verb in verbs]
        for by, verb in enumerate(verbs):
            self.services.send(by, verb, **asked[by])
        answers = [self.services.receive(by) for by in range(2)]
        winners = [by for by, verb in enumerate(verbs) if verb in {"upload", "delete"} and answers[by].is_done]
        assert len(winners) <= 1, f"both changed {name} under If-Match {etags}"
        for by in winners:
            if verbs[by] == "upload":
                self.promised.places[len(asked[by]["content"])].add(name)
        self._check({name} if winners else set())
        return answers

    def _exactly(self, verb: str, name: str, etags: list[str] | None) -> dict[str, Any]:
        """Return the arguments of a verb that acts on one version only."""
        takes: dict[str, dict[str, Any]] = {
            "upload": {"name": name, "if_match": etags},
            "delete": {"name": name, "if_match": etags or ['"none"']},
        }
        return takes.get(verb, {}) | ({"content": self.content()} if verb == "upload" else {})

    def restore_at_once(self, trash_id: str, names: tuple[str, str]) -> list[Answer]:
        """Let both services restore one entry at the same time, to two free names: at most one may succeed."""
        size = len(self.now.trash[trash_id])
        self.promised.places[size] |= set(names)
        for by, name in enumerate(names):
            self.services.send(by, "restore", trash_id=trash_id, as_name=name)
        answers = [self.services.receive(by) for by in range(2)]
        assert sum(answer.is_done for answer in answers) <= 1, f"both restored {trash_id}"
        self._check({answer.done for answer in answers if answer.is_done})
        return answers

    def delete(self, by: int, name: str, *, permanent: bool = False, if_match: list[str] | None = None) -> Answer:
        """Move a model to the trash, or delete it permanently."""
        if permanent:
            self.promised.may_be_deleted.add(name)
        answer = self.services.ask(by, "delete", name=name, permanent=permanent, if_match=if_match)
        if answer.is_done:
            self._check_version(name, if_match, "deleted")
            self._check_not_protected(name, "deleted")
        self._check({name} if answer.is_done else set())
        assert not answer.is_done or name not in self.now.models, f"{name} was deleted and is there"
        return answer

    def delete_while_the_other_looks(self, by: int, name: str) -> Answer:
        """Let one service delete a model while the other lists the trash, and may see the deletion half done."""
        for count in range(LOOKS):
            self.services.send(1 - by, "trash")
            if count == LOOKS // 2:
                self.services.send(by, "delete", name=name)
        for _ in range(LOOKS):
            self.services.receive(1 - by)
        answer = self.services.receive(by)
        if answer.is_done:
            self._check_not_protected(name, "deleted")
        self._check({name} if answer.is_done else set())
        return answer

    def prune(self, by: int) -> Answer:
        """Delete the old models."""
        answer = self.services.ask(by, "prune")
        for name, etag in answer.done or ():
            self._check_version(name, [etag], "pruned")
            self._check_not_protected(name, "pruned")
        self._check({name for name, _ in answer.done or ()})
        return answer

    def protect(self, by: int, name: str) -> Answer:
        """Protect a model from deletion and replacement."""
        answer = self.services.ask(by, "protect", name=name)
        if answer.is_done:
            self.promised.protected.add(name)
        self._check(set())
        return answer

    def unprotect(self, by: int, name: str) -> Answer:
        """Remove the protection of a model."""
        self.promised.protected.discard(name)
        return self._ask(by, "unprotect", name=name)

    def lease(self, by: int, name: str) -> Answer:
        """Lease a model until `release`."""
        answer = self.services.ask(by, "lease", name=name)
        if answer.is_done:
            self.promised.leased[name] = by
        self._check(set())
        return answer

    def release(self, name: str) -> Answer:
        """Release a lease, by the service that holds it."""
        return self._ask(self.promised.leased.pop(name), "release", name=name)

    def look(self, by: int, verb: str, **arguments: str) -> Answer:
        """Do a verb that changes nothing. The service caches what it sees."""
        return self._ask(by, verb, **arguments)

    def let_pass(self, by: int, seconds: float) -> None:
        """Let the cache of one service grow older."""
        self.services.ask(by, "let_pass", seconds=seconds)

    def delay(self, seconds: float) -> None:
        """Let each change take some seconds, so that the other service can act during it."""
        for by in range(2):
            self.services.ask(by, "delay", seconds=seconds)

    # The trash.

    def restore(self, by: int, trash_id: str, as_name: str | None = None) -> Answer:
        """Restore an entry of the trash to its old name or to another."""
        content = self.now.trash.get(trash_id)
        if content:  # the model may be at the new name from now on, whatever the answer is
            self.promised.places[len(content)] |= {as_name} if as_name else set()
        answer = self.services.ask(by, "restore", trash_id=trash_id, as_name=as_name)
        if answer.is_done:
            assert content is not None, f"{trash_id} was restored and was not in the trash"
            assert answer.done not in self.now.models, f"{answer.done} was restored over another model"
        self._check({answer.done} if answer.is_done else set())
        assert not answer.is_done or self.now.models.get(answer.done) == content, f"{answer.done} was not restored"
        return answer

    def purge(self, by: int, trash_id: str) -> Answer:
        """Purge an entry of the trash."""
        self.promised.may_be_purged.add(trash_id)
        return self._ask(by, "purge", trash_id=trash_id)

    def sweep(self, by: int) -> Answer:
        """Sweep. Only what has expired may be removed."""
        return self._ask(by, "sweep")

    # Uploads in parts.

    def begin(self, by: int, name: str) -> str:
        """Begin a resumable upload and hold it in one service."""
        number = len(self.promised.parts)
        partial_id = f"{number:032x}"
        answer = self.services.ask(by, "begin", partial_id=partial_id, name=name)
        self.promised.parts[partial_id] = Part(name, number, by if answer.is_done else None, is_over=not answer.is_done)
        self._check(set())
        return partial_id

    def resume(self, by: int, partial_id: str) -> Answer:
        """Let a service resume an upload at its end."""
        part = self.promised.parts[partial_id]
        answer = self.services.ask(by, "resume", partial_id=partial_id)
        if answer.is_done:
            assert part.holder is None, f"both services have {partial_id} in hand"
            part.holder = by
            if not part.is_over:
                assert answer.done == len(part.content), f"{answer.done} bytes are left of {len(part.content)}"
        self._check(set())
        return answer

    def append(self, partial_id: str) -> Answer:
        """Append bytes that no other upload has, by the service that holds the upload."""
        part = self.promised.parts[partial_id]
        assert part.holder is not None
        more = f"part {part.number} ".ljust(LARGEST + part.number, "-")
        # Bytes that are appended after the upload was published or cancelled are not recorded as sent.
        content = part.content + more
        if not part.is_over:
            self.promised.sent[len(content)] = content.encode()
        answer = self.services.ask(part.holder, "append", partial_id=partial_id, content=more)
        if answer.is_done and not part.is_over:
            part.content = content
        self._check(set())
        return answer

    def release_upload(self, partial_id: str) -> Answer:
        """Release an upload, by the service that holds it."""
        part = self.promised.parts[partial_id]
        holder, part.holder = part.holder, None
        assert holder is not None
        return self._ask(holder, "release_upload", partial_id=partial_id)

    def publish(self, partial_id: str, **conditions: list[str]) -> Answer:
        """Publish an upload, by the service that holds it."""
        part = self.promised.parts[partial_id]
        holder, part.holder = part.holder, None
        assert holder is not None
        content, was_over = part.content.encode(), part.is_over
        answer = self.services.ask(holder, "publish", partial_id=partial_id, name=part.name, **conditions)
        assert not answer.is_done or not was_over, f"{partial_id} was published twice, or after it was given up"
        part.is_over = part.is_over or answer.is_done
        self._published(answer, part.name, content, conditions)
        return answer

    def discard(self, by: int, partial_id: str) -> Answer:
        """Cancel an upload."""
        part = self.promised.parts[partial_id]
        # An upload that a service holds is not cancelled.
        part.is_over = part.is_over or part.holder is None
        return self._ask(by, "discard", partial_id=partial_id)

    # Jobs.

    def create_job(self, by: int) -> str | None:
        """Create a job that any service may take."""
        answer = self.services.ask(by, "create_job")
        if answer.is_done:
            self.promised.jobs[answer.done] = Job()
        self._check(set())
        return answer.done if answer.is_done else None

    def take_job(self, by: int, job_id: str) -> Answer:
        """Take a job. Fails if the job is held or finished and was taken."""
        job = self.promised.jobs[job_id]
        answer = self.services.ask(by, "take_job", job_id=job_id)
        if answer.done:
            assert not job.is_finished, f"the finished job {job_id} was taken over"
            assert job.holder is None, f"both services have the job {job_id}"
            job.holder = by
        self._check(set())
        return answer

    def finish_job(self, job_id: str) -> Answer:
        """Finish a job, by the service that holds it."""
        job = self.promised.jobs[job_id]
        answer = self.services.ask(job.holder or 0, "finish_job", job_id=job_id)
        job.holder, job.is_finished = None, job.is_finished or answer.is_done
        self._check(set())
        return answer

    def cancel_job(self, by: int, job_id: str) -> Answer:
        """Cancel a job. One that no service holds is finished at once."""
        job = self.promised.jobs[job_id]
        answer = self.services.ask(by, "cancel_job", job_id=job_id)
        if answer.is_done and job.is_finished:
            assert answer.done in {"succeeded", "cancelled"}, f"a finished job is {answer.done}"
        job.is_finished = job.is_finished or answer.done == "cancelled"
        self._check(set())
        return answer

    # The checks.

    def _ask(self, by: int, verb: str, **arguments: Any) -> Answer:
        answer = self.services.ask(by, verb, **arguments)
        self._check(set())
        return answer

    def _published(self, answer: Answer, name: str, content: bytes, conditions: dict[str, list[str]]) -> None:
        if answer.is_done:
            self.promised.places[len(content)].add(name)
            self._check_version(name, conditions.get("if_match"), "replaced")
            if "if_match" not in conditions:
                assert name not in self.now.models, f"{name} was replaced without If-Match"
            self._check_not_protected(name, "replaced")
        self._check({name} if answer.is_done else set())
        assert not answer.is_done or self.now.models.get(name) == content, f"{name} has not what was published"

    def _check_version(self, name: str, if_match: list[str] | None, what: str) -> None:
        """Check that the version that was really there is one of those of If-Match."""
        present = self.now.etags.get(name)
        if if_match is not None and "*" not in if_match:
            assert present in if_match, f"If-Match {if_match} {what} {name}, which was {present}"

    def _check_not_protected(self, name: str, what: str) -> None:
        if name in self.now.models:
            assert name not in self.promised.protected, f"{name} is protected and was {what}"
            assert name not in self.promised.leased, f"{name} is in use and was {what}"

    def _check(self, may_change: set[str]) -> None:
        """Check all invariants. Only models named in `may_change` may have changed since the last check."""
        before, self.now = self.now, find(self.services.root)
        for name, etag in self.now.etags.items():
            if self.etags[name][-1:] != [etag]:
                self.etags[name].append(etag)
        came = self.now.trash.keys() - set(self.promised.trash_ids)
        self.promised.trash_ids += sorted(came, key=lambda entry: len(self.now.trash[entry]))
        self._check_models(before, may_change)
        self._check_contents()
        self._check_uploads()
        self._check_journal()
        self._check_parts()
        for job_id in self.promised.jobs:
            assert any(job_id in file for file in self.now.jobs), f"the record of the job {job_id} is gone"

    def _check_models(self, before: Found, may_change: set[str]) -> None:
        for name in (before.models.keys() | self.now.models.keys()) - may_change:
            was, now = _shown(before.models.get(name)), _shown(self.now.models.get(name))
            assert was == now, f"{name} was {was} and is {now} without anybody having said so"

    def _check_contents(self) -> None:
        for name, content in self.now.models.items():
            assert self.promised.sent.get(len(content)) == content, f"nobody sent the bytes of {name}"
        for entry, content in (self.now.trash | self.now.strays).items():
            assert self.promised.sent.get(len(content)) == content, f"nobody sent the bytes of {entry} in the trash"
        for name, content in self.now.staged.items():
            is_known = not content or any(sent.startswith(content) for sent in self.promised.sent.values())
            assert is_known, f"nobody sent the bytes of {name} in staging"
        sizes = [len(content) for content in self.now.models.values()]
        assert len(sizes) == len(set(sizes)), f"one upload is at two names: {self.now.models.keys()}"

    def _check_uploads(self) -> None:
        """Check that each upload is at an allowed name or in the trash, or that the journal records its removal."""
        in_trash = {len(content) for content in self.now.trash.values()}
        gone = {line["size_bytes"] for line in self.now.journal if line["action"] in {"purged", "deleted"}}
        for size, names in self.promised.places.items():
            is_there = any(len(self.now.models.get(name, b"")) == size for name in names)
            shown = _shown(self.promised.sent[size])
            strays = [entry for entry, content in self.now.strays.items() if len(content) == size]
            assert is_there or size in in_trash | gone, f"{shown} is lost; without a record in the trash: {strays}"

    def _check_journal(self) -> None:
        if not self.keeps_trash:
            return
        for line in self.now.journal:
            name, entry = line["name"], line["trash_id"]
            if line["action"] == "purged":
                assert entry in self.promised.may_be_purged, f"{entry} ({name}) was purged before its time"
            if line["action"] == "deleted":
                assert name in self.promised.may_be_deleted, f"{name} was deleted past the trash"

    def _check_parts(self) -> None:
        staged = set(self.now.staged.values())
        for partial_id, part in self.promised.parts.items():
            is_kept = part.is_over or not part.content or part.content.encode() in staged
            assert is_kept, f"the {len(part.content)} bytes of {partial_id} are lost"


def _shown(content: bytes | None) -> str:
    """Return a short form of a content for messages."""
    if content is None:
        return "nothing"
    label = b" ".join(content.split(b" ")[:2]).decode(errors="replace")
    return f"'{label}' ({len(content)} bytes)"
