"""A process that changes a model folder at random, and logs each change before and after it.

    python -m tests.support.crash.random_changes FOLDER|URL FOLDER SEED SECONDS LOG [HUB_URL]

It uses a Store of its own, or the service at that URL. With the URL of a LabelledHub's CDN it also pulls. To add a kind
of change, add a method to `Changes` and its name to WEIGHTS.
"""

import json
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import httpx

from app.errors import ServiceError
from app.store.inventory import Model
from app.store.journal.files import ROTATE_BYTES
from tests.support.crash.actions import ByHttp, ByStore, Refused, Verbs
from tests.support.crash.labelled import content_of, read
from tests.support.crash.labelled_hub import path_of

NAMES = ("a.bin", "b.bin", "c.gguf", "org_repo/d.gguf", "org_repo/e.gguf", "old_f.bin", "g_v1.bin", "g_v2.bin")
SIZES = (0, 100, 10_000, 300_000)
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
PULLING = {"pull": 5, "adopt": 3, "cancel": 2}
"""The additional changes when there is a hub to pull from."""


@dataclass(frozen=True)
class Note:
    """One line of a process's log: a change that it began, or one that succeeded."""

    request: str
    change: str
    is_done: bool
    label: str | None = None
    """The label of the model that the change adds."""
    touched: dict[str, str] = field(default_factory=dict)
    """The labels that the change may remove, by the model's name or the id of its trash entry."""

    @property
    def process(self) -> str:
        """The process that wrote the note."""
        return self.request.partition(".")[0]


class Changes:
    """The random changes of one process."""

    def __init__(self, verbs: Verbs, root: Path, seed: int, log: Path, hub_url: str = "") -> None:
        """`hub_url` is the URL of a LabelledHub's CDN; without one, nothing is pulled."""
        self._verbs = verbs
        self._hub_url = hub_url
        self._weights = WEIGHTS | (PULLING if hub_url else {})
        self._root = root
        self._chance = random.Random(seed)  # noqa: S311 - to be the same each time
        self._prefix = f"{seed}"
        self._count = 0
        self._log = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)

    def one(self) -> None:
        """Do one random change. A refusal is allowed."""
        (change,) = self._chance.choices(list(self._weights), list(self._weights.values()))
        self._count += 1
        request = f"{self._prefix}.{self._count}"
        try:
            getattr(self, change)(request)
        except (ServiceError, Refused):
            return

    def upload(self, request: str) -> None:
        """Upload a model to a random name."""
        self._upload(request, self._chance.choice(NAMES), None, {})

    def replace(self, request: str) -> None:
        """Replace a model, on condition that it is the version just read."""
        name = self._chance.choice(NAMES)
        if present := read(self._root / name):
            self._upload(request, name, present.etag, {name: present.label})

    def delete(self, request: str, *, permanent: bool = False) -> None:
        """Delete a model, on condition that it is the version just read."""
        name = self._chance.choice(NAMES)
        if present := read(self._root / name):
            change = "erase" if permanent else "delete"
            self._note(request, change, touched={name: present.label})
            self._verbs.delete(request, name, present.etag, permanent=permanent)
            self._note(request, change, is_done=True, touched={name: present.label})

    def erase(self, request: str) -> None:
        """Delete a model permanently, without the trash."""
        self.delete(request, permanent=True)

    def restore(self, request: str) -> None:
        """Restore an entry of the trash to a random name."""
        if trash := self._trash():
            self._note(request, "restore")
            self._verbs.restore(request, self._chance.choice(trash).name, self._chance.choice(NAMES))
            self._note(request, "restore", is_done=True)

    def purge(self, request: str) -> None:
        """Purge one entry of the trash."""
        if (trash := self._trash()) and (chosen := read(path := self._chance.choice(trash))):
            self._note(request, "purge", touched={path.name: chosen.label})
            self._verbs.purge(request, path.name)
            self._note(request, "purge", is_done=True, touched={path.name: chosen.label})

    def empty(self, request: str) -> None:
        """Empty the trash."""
        self._sweeping(request, "empty", lambda: self._verbs.empty(request))

    def sweep(self, request: str) -> None:
        """Run the sweep, which removes expired entries and what killed processes left."""
        self._sweeping(request, "sweep", self._verbs.sweep)

    def prune(self, request: str) -> None:
        """Delete every old model, on condition that it is the version just read."""
        seen: dict[str, str] = {}

        def is_known(model: Model) -> bool:
            present = read(self._root / model.name)
            if present and present.etag == model.etag:
                seen[model.name] = present.label
                self._note(request, "prune", touched=seen)
            return model.name in seen

        self._verbs.prune(request, is_known)
        self._note(request, "prune", is_done=True, touched=seen)

    def pull(self, request: str) -> None:
        """Pull a model to a random name."""
        path = path_of(request, self._chance.choice(SIZES), is_quick=self._chance.random() < 0.5)
        self._note(request, "pull", label=request)
        self._verbs.pull(request, self._hub_url + path, self._chance.choice(NAMES))
        self._note(request, "pull", is_done=True, label=request)

    def adopt(self, request: str) -> None:
        """Continue the pulls that killed processes left."""
        self._note(request, "adopt")
        labels = self._verbs.adopt()
        for label in labels:
            self._note(request, "adopt", is_done=True, label=label)
        self._note(request, "adopt", is_done=True)

    def cancel(self, request: str) -> None:
        """Cancel a pull of any process."""
        self._note(request, "cancel")
        self._verbs.cancel()
        self._note(request, "cancel", is_done=True)

    def _sweeping(self, request: str, change: str, verb: Callable[[], None]) -> None:
        self._note(request, change)  # entries that other processes add to the trash from now on may be removed too
        touched = {path.name: found.label for path in self._trash() if (found := read(path))}
        self._note(request, change, touched=touched)
        verb()
        self._note(request, change, is_done=True, touched=touched)

    def _upload(self, request: str, name: str, if_match: str | None, touched: dict[str, str]) -> None:
        content = content_of(request, self._chance.choice(SIZES))
        self._note(request, "upload", label=request, touched=touched)
        self._verbs.upload(request, name, content, if_match)
        self._note(request, "upload", is_done=True, label=request, touched=touched)

    def _trash(self) -> list[Path]:
        return sorted(path for path in (self._root / ".store/trash").iterdir() if path.suffix != ".json")

    def _note(self, request: str, change: str, *, is_done: bool = False, **about: Any) -> None:
        # Each note is one write, which the kernel keeps even if the process is killed.
        os.write(
            self._log, json.dumps({"request": request, "change": change, "is_done": is_done} | about).encode() + b"\n"
        )


def notes_in(log: Path) -> Iterator[Note]:
    """Yield the notes in a process's log, in order."""
    for line in log.read_text().splitlines() if log.exists() else ():
        yield Note(**json.loads(line))


def change_until_killed(through: str, root: Path, seed: int, log: Path, hub_url: str, ready: Connection) -> None:
    """Do random changes until this process, or its service, is killed."""
    changes = Changes(ByHttp(through) if through else ByStore(root, str(seed), hub_url), root, seed, log, hub_url)
    ready.send("ready")
    with suppress(httpx.TransportError):
        while True:
            changes.one()


def main() -> None:
    through, root, seed, seconds, log, *hub_url = sys.argv[1:]
    verbs = ByHttp(through) if through.startswith("http:") else ByStore(Path(root), seed, *hub_url)
    changes = Changes(verbs, Path(root), int(seed), Path(log), *hub_url)
    print("ready", flush=True)
    end, journal = time.monotonic() + float(seconds), Path(root) / ".store/journal.jsonl"
    # End before the journal is rotated twice: changes in a dropped journal file could not be checked.
    while time.monotonic() < end and sum(map(_size_of, journal_files(journal))) < ROTATE_BYTES * 3 // 2:
        changes.one()


def _size_of(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:  # the journal is being rotated
        return 0


def journal_files(journal: Path) -> list[Path]:
    """Return every file of the journal, oldest first."""
    return [*sorted(journal.parent.glob("journal.*.jsonl")), journal]


if __name__ == "__main__":
    main()
