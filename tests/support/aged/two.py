"""Two services that share a folder and do not see each other's changes at once, and what is really in that folder."""

import json
import shutil
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.store.inventory import STORE_DIR, model_at
from tests.support.aged import Child

FOREVER_SECONDS = 5.0
"""With entries that are believed for ever: how long those are believed that say that nothing is there."""
IN_MEMORY = Path("/dev/shm")  # noqa: S108 - no disk has to be waited for
LONG = 3600.0
TINY = 1e-6


@dataclass(frozen=True)
class Ageing:
    """How the services see the folder; `aged.c` says what each of these is."""

    seconds: float = FOREVER_SECONDS
    forever: bool = False
    old_attributes: bool = True
    old_lists: bool = True
    no_rename_flags: bool = True
    asks_again: bool = False


@dataclass(frozen=True)
class Answer:
    """What a service answered."""

    done: Any = None
    refused: str | None = None
    """The class of the error."""
    detail: str = ""

    @property
    def is_done(self) -> bool:
        """Whether it was not refused."""
        return self.refused is None


class TwoServices:
    """Start once: they are new services on a new folder after each `reset()`. Indexed by 0 and 1."""

    def __init__(self) -> None:
        self._children = [self._started(), self._started()]
        self.root = Path()

    def close(self) -> None:
        """End both, and remove the folder."""
        for child in self._children:
            child.__exit__()
        self._remove()

    def reset(self, ageing: Ageing, retention_seconds: float) -> None:
        """A new folder, which neither of them knows anything of."""
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
        """Let one of them do something; fails when it fails otherwise than by an error of the store."""
        self.send(index, verb, **arguments)
        return self.receive(index)

    def send(self, index: int, verb: str, **arguments: Any) -> None:
        """Ask, and `receive()` the answer later."""
        self._children[index].send({"verb": verb} | arguments)

    def receive(self, index: int) -> Answer:
        """The answer to what was sent."""
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
    """What is really in the folder at one moment, read by a process that remembers nothing."""

    models: dict[str, bytes]
    etags: dict[str, str]
    trash: dict[str, bytes]
    """By entry; only what has a record."""
    strays: dict[str, bytes]
    """What lies in the trash without a record."""
    staged: dict[str, bytes]
    journal: list[dict[str, Any]]
    jobs: list[str]
    """The files."""


def find(root: Path) -> Found:
    """Read everything; fails for a line of the journal that is not whole."""
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
