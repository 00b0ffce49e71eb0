"""Two services that share a folder and see each other's changes late, and the true content of that folder."""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.store.inventory import STORE_DIR, model_at
from tests.support.aged import Child

FOREVER_SECONDS = 5.0
"""With `forever`, how long a cached entry that says that there is no file is used."""
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - faster than a disk
LONG = 3600.0
TINY = 1e-6


@dataclass(frozen=True)
class Ageing:
    """How the services see the folder. `aged.c` explains each field."""

    seconds: float = FOREVER_SECONDS
    forever: bool = False
    old_attributes: bool = True
    old_lists: bool = True
    no_rename_flags: bool = True
    asks_again: bool = False


@dataclass(frozen=True)
class Answer:
    """The answer of a service."""

    done: Any = None
    refused: str | None = None
    """The name of the error's class; None without an error."""
    detail: str = ""

    @property
    def is_done(self) -> bool:
        """True if the service did not refuse."""
        return self.refused is None


class TwoServices:
    """Two service processes, indexed 0 and 1. After each `reset()` they are new services on a new folder."""

    def __init__(self) -> None:
        self._children = [self._started(), self._started()]
        self.root = Path()

    def close(self) -> None:
        """End both processes and remove the folder."""
        for child in self._children:
            child.__exit__()
        self._remove()

    def reset(self, ageing: Ageing, retention_seconds: float) -> None:
        """Create a new folder, of which both services have cached nothing."""
        self._remove()
        self.root = (
            Path(tempfile.mkdtemp(prefix="two-services-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None)) / "models"
        )
        for index, child in enumerate(self._children):
            if not child.is_alive:
                self._children[index] = self._started()
            settings = {"root": str(self.root), "retention_seconds": retention_seconds, "ageing": asdict(ageing)}
            self.root.mkdir(exist_ok=True)
            answer = self.ask(index, "reset", **settings)
            assert answer.is_done, answer

    def ask(self, index: int, verb: str, **arguments: Any) -> Answer:
        """Send a verb to a service and return its answer. Fails on any error that is not a StoreError."""
        self.send(index, verb, **arguments)
        return self.receive(index)

    def send(self, index: int, verb: str, **arguments: Any) -> None:
        """Send a verb to a service; `receive()` returns the answer."""
        self._children[index].send({"verb": verb} | arguments)

    def receive(self, index: int) -> Answer:
        """Return the answer to the verb that was sent before."""
        answer = self._children[index].receive()
        assert "failed" not in answer, answer["failed"]
        return Answer(**answer)

    @staticmethod
    def _started() -> Child:
        return Child("-m", "tests.support.aged.service")

    def _remove(self) -> None:
        if self.root.name:
            shutil.rmtree(self.root.parent)


@dataclass(frozen=True)
class Found:
    """The true content of the folder at one moment, read by a process that caches nothing."""

    models: dict[str, bytes]
    etags: dict[str, str]
    trash: dict[str, bytes]
    """The files of the trash that have a record, by entry."""
    strays: dict[str, bytes]
    """The files in the trash without a record."""
    staged: dict[str, bytes]
    journal: list[dict[str, Any]]
    jobs: list[str]
    """The names of the files in the jobs folder."""


def find(root: Path) -> Found:
    """Read the whole folder. Fails if a line of the journal is not whole."""
    store = root / STORE_DIR
    paths = [path for path in root.rglob("*") if path.is_file() and STORE_DIR not in path.relative_to(root).parts]
    models = {str(path.relative_to(root)): path for path in paths}
    trash = {path.name: path.read_bytes() for path in (store / "trash").iterdir() if path.suffix != ".json"}
    has_record = {entry: (store / "trash" / f"{entry}.json").exists() for entry in trash}
    return Found(
        models={name: path.read_bytes() for name, path in models.items()},
        etags={name: model_at(name, path.stat()).etag for name, path in models.items()},
        trash={entry: content for entry, content in trash.items() if has_record[entry]},
        strays={entry: content for entry, content in trash.items() if not has_record[entry]},
        staged={path.name: path.read_bytes() for path in (store / "staging").iterdir() if path.suffix == ".part"},
        journal=_journal(store),
        jobs=[path.name for path in (store / "jobs").iterdir()],
    )


def _journal(store: Path) -> list[dict[str, Any]]:
    lines = [line for path in sorted(store.glob("journal*.jsonl")) for line in path.read_text().splitlines() if line]
    return [json.loads(line) for line in lines]
