"""A process that changes a model folder at random, and notes what it is about to do and what came of it.

    python -m tests.support.random_changes FOLDER|URL FOLDER SEED SECONDS LOG

Through a Store of its own, or through the service at that URL. A further kind of change is one more method of `Changes`
whose name is in WEIGHTS.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import quote

import httpx

from app.errors import StoreError
from app.store.audit import Reason, audit, execute, plan_prune
from app.store.inventory import Model
from app.store.journal import Origin
from app.store.publishing import Conditions
from app.store.rules import Rules
from app.store.store import Store
from tests.support.labelled import content_of, read

NAMES = ("a.bin", "b.bin", "c.gguf", "org_repo/d.gguf", "org_repo/e.gguf", "old_f.bin", "g_v1.bin", "g_v2.bin")
WEIGHTS = {
    "upload": 8,
    "replace": 6,
    "delete": 6,
    "erase": 2,
    "restore": 4,
    "purge": 2,
    "prune": 1,
    "sweep": 1,
    "empty": 1,
}
RETENTION_SECONDS = float(os.environ.get("TEST_RETENTION_SECONDS", "3600"))


class Refused(Exception):
    """By the store or the service, in a documented way."""


class Verbs(Protocol):
    """What may be done, and by which request; each raises Refused."""

    def upload(self, request: str, name: str, content: bytes, if_match: str | None) -> None: ...
    def delete(self, request: str, name: str, if_match: str, *, permanent: bool) -> None: ...
    def restore(self, request: str, trash_id: str, name: str) -> None: ...
    def purge(self, request: str, trash_id: str) -> None: ...
    def empty(self, request: str) -> None: ...
    def sweep(self) -> None: ...
    def prune(self, request: str, is_known: Callable[[Model], bool]) -> None: ...


class ByStore:
    """The verbs of a store in this process."""

    def __init__(self, root: Path, actor: str) -> None:
        self._store = Store(
            root, Rules(), trash_retention=timedelta(seconds=RETENTION_SECONDS), on_event=self._on_event
        )
        self._store.open()
        self._actor = actor

    @staticmethod
    def _on_event(event: str, fields: dict[str, Any]) -> None:
        if event == "journal.failed":
            raise AssertionError(fields)

    def upload(self, request: str, name: str, content: bytes, if_match: str | None) -> None:
        publisher = self._store.publisher
        conditions = Conditions(if_match=frozenset({if_match}) if if_match else None)
        publisher.plan(name, conditions, len(content))
        staged = publisher.begin()
        try:
            for start in range(0, len(content), 1 << 16):
                staged.write(content[start : start + (1 << 16)])
            publisher.publish(name, staged, conditions, Origin(self._actor, request))
        finally:
            staged.discard()

    def delete(self, request: str, name: str, if_match: str, *, permanent: bool) -> None:
        plan = self._store.plan_deletion(name, if_match=[if_match], permanent=permanent)
        self._store.delete(plan, Origin(self._actor, request))

    def restore(self, request: str, trash_id: str, name: str) -> None:
        self._store.restore(trash_id, name, Origin(self._actor, request))

    def purge(self, request: str, trash_id: str) -> None:
        self._store.purge(trash_id, Origin(self._actor, request))

    def empty(self, request: str) -> None:
        self._store.empty_trash(Origin(self._actor, request))

    def sweep(self) -> None:
        self._store.sweep()

    def prune(self, request: str, is_known: Callable[[Model], bool]) -> None:
        plan = plan_prune(
            audit(self._store.scan(), self._store.rules, self._store.protections), list(Reason), permanent=False
        )
        known = [finding for finding in plan.findings if is_known(finding.model)]
        execute(replace(plan, findings=tuple(known)), self._store, Origin(self._actor, request))


class ByHttp:
    """The verbs of a service."""

    def __init__(self, url: str) -> None:
        self._client = httpx.Client(base_url=url, timeout=60)

    def upload(self, request: str, name: str, content: bytes, if_match: str | None) -> None:
        headers = {"if-match": if_match} if if_match else {}
        self._call("PUT", f"/models/{quote(name)}", request, content=content, headers=headers)

    def delete(self, request: str, name: str, if_match: str, *, permanent: bool) -> None:
        params = {"permanent": "true"} if permanent else {}
        self._call("DELETE", f"/models/{quote(name)}", request, params=params, headers={"if-match": if_match})

    def restore(self, request: str, trash_id: str, name: str) -> None:
        self._call("POST", f"/trash/{trash_id}/restore", request, params={"as": name})

    def purge(self, request: str, trash_id: str) -> None:
        self._call("DELETE", f"/trash/{trash_id}", request)

    def empty(self, request: str) -> None:
        self._call("DELETE", "/trash", request)

    def sweep(self) -> None:
        raise Refused  # the service does that by itself

    def prune(self, request: str, is_known: Callable[[Model], bool]) -> None:
        raise Refused  # its plan does not say which versions are in it

    def _call(self, method: str, path: str, request: str, **options: Any) -> httpx.Response:
        headers = options.pop("headers", {}) | {"x-request-id": request}
        answer = self._client.request(method, path, headers=headers, **options)
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            raise Refused(answer.text)
        return answer


@dataclass(frozen=True)
class Note:
    """One line of a process's log: a change that it began, or that it saw succeed."""

    request: str
    change: str
    is_done: bool
    label: str | None = None
    """The model that it brings in."""
    touched: dict[str, str] = field(default_factory=dict)
    """The models that may go by it, into the trash or for good: by name, or by entry of the trash."""

    @property
    def process(self) -> str:
        """Whose it is."""
        return self.request.partition(".")[0]


class Changes:
    """One process's random changes."""

    def __init__(self, verbs: Verbs, root: Path, seed: int, log: Path) -> None:
        self._verbs = verbs
        self._root = root
        self._chance = random.Random(seed)  # noqa: S311 - to be the same each time
        self._prefix = f"{seed}"
        self._count = 0
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def one(self) -> None:
        """Whichever it is."""
        (change,) = self._chance.choices(list(WEIGHTS), list(WEIGHTS.values()))
        self._count += 1
        request = f"{self._prefix}.{self._count}"
        try:
            getattr(self, change)(request)
        except (StoreError, Refused):
            return

    def upload(self, request: str) -> None:
        """At a name that is free, unless it is not."""
        self._upload(request, self._chance.choice(NAMES), None, {})

    def replace(self, request: str) -> None:
        """Exactly the version that was seen."""
        name = self._chance.choice(NAMES)
        if present := read(self._root / name):
            self._upload(request, name, present.etag, {name: present.label})

    def delete(self, request: str, *, permanent: bool = False) -> None:
        """Exactly the version that was seen."""
        name = self._chance.choice(NAMES)
        if present := read(self._root / name):
            change = "erase" if permanent else "delete"
            self._note(request, change, touched={name: present.label})
            self._verbs.delete(request, name, present.etag, permanent=permanent)
            self._note(request, change, is_done=True, touched={name: present.label})

    def erase(self, request: str) -> None:
        """Past the trash."""
        self.delete(request, permanent=True)

    def restore(self, request: str) -> None:
        """Where it was, or elsewhere."""
        if trash := self._trash():
            self._note(request, "restore")
            self._verbs.restore(request, self._chance.choice(trash).name, self._chance.choice(NAMES))
            self._note(request, "restore", is_done=True)

    def purge(self, request: str) -> None:
        """One of the trash."""
        if (trash := self._trash()) and (chosen := read(path := self._chance.choice(trash))):
            self._note(request, "purge", touched={path.name: chosen.label})
            self._verbs.purge(request, path.name)
            self._note(request, "purge", is_done=True, touched={path.name: chosen.label})

    def empty(self, request: str) -> None:
        """All of the trash."""
        self._sweeping(request, "empty", lambda: self._verbs.empty(request))

    def sweep(self, request: str) -> None:
        """What has expired, and what killed processes left."""
        self._sweeping(request, "sweep", self._verbs.sweep)

    def prune(self, request: str) -> None:
        """Everything old, each exactly the version that was seen."""
        seen: dict[str, str] = {}

        def is_known(model: Model) -> bool:
            present = read(self._root / model.name)
            if present and present.etag == model.etag:
                seen[model.name] = present.label
                self._note(request, "prune", touched=seen)
            return model.name in seen

        self._verbs.prune(request, is_known)
        self._note(request, "prune", is_done=True, touched=seen)

    def _sweeping(self, request: str, change: str, verb: Callable[[], None]) -> None:
        self._note(request, change)  # what others bring into the trash from now on may go, too
        touched = {path.name: found.label for path in self._trash() if (found := read(path))}
        self._note(request, change, touched=touched)
        verb()
        self._note(request, change, is_done=True, touched=touched)

    def _upload(self, request: str, name: str, if_match: str | None, touched: dict[str, str]) -> None:
        content = content_of(request, self._chance.choice([0, 100, 10_000, 300_000]))
        self._note(request, "upload", label=request, touched=touched)
        self._verbs.upload(request, name, content, if_match)
        self._note(request, "upload", is_done=True, label=request, touched=touched)

    def _trash(self) -> list[Path]:
        return sorted(path for path in (self._root / ".store/trash").iterdir() if path.suffix != ".json")

    def _note(self, request: str, change: str, *, is_done: bool = False, **about: Any) -> None:
        # One write each, which the kernel keeps whatever becomes of the process.
        os.write(
            self._log, json.dumps({"request": request, "change": change, "is_done": is_done} | about).encode() + b"\n"
        )


def notes_in(log: Path) -> Iterator[Note]:
    """What a process noted, in order."""
    for line in log.read_text().splitlines() if log.exists() else ():
        yield Note(**json.loads(line))


def change_until_killed(through: str, root: Path, seed: int, log: Path, ready: Connection) -> None:
    """What the processes do that are to be killed, or whose service is."""
    changes = Changes(ByHttp(through) if through else ByStore(root, str(seed)), root, seed, log)
    ready.send("ready")
    with suppress(httpx.TransportError):
        while True:
            changes.one()


def main() -> None:
    through, root, seed, seconds, log = sys.argv[1:]
    verbs = ByHttp(through) if through.startswith("http:") else ByStore(Path(root), seed)
    changes = Changes(verbs, Path(root), int(seed), Path(log))
    print("ready", flush=True)
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        changes.one()


if __name__ == "__main__":
    main()
