"""Models that contain their own label, so that any file shows which version it is and whether it is whole."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path

from app.store.inventory import model_at

HEAD_BYTES = 64


def content_of(label: str, size_bytes: int) -> bytes:
    """Return the content of a label: a head of 64 bytes with label and size, then bytes that only this label has."""
    head = f"{label} {HEAD_BYTES + size_bytes}".encode().ljust(HEAD_BYTES, b".")
    return head + hashlib.shake_128(label.encode()).digest(size_bytes)


@dataclass(frozen=True)
class Labelled:
    """One whole file, as it was when it was opened."""

    label: str
    etag: str
    inode: int


def read(path: Path) -> Labelled | None:
    """Read the file at a path; None if there is none. Fails if the file is not whole."""
    try:
        with path.open("rb") as file:
            status, content = os.fstat(file.fileno()), file.read()
    except FileNotFoundError:
        return None
    label, size_bytes = content[:HEAD_BYTES].rstrip(b".").decode().split(" ")
    assert content == content_of(label, int(size_bytes) - HEAD_BYTES), f"{path} is not whole"
    return Labelled(label, model_at(path.name, status).etag, status.st_ino)


def everything(root: Path) -> list[tuple[Path, Labelled]]:
    """Return every model and every file of the trash, with its label. No process may change them meanwhile.

    Models that a killed process had set aside count too: the next sweep moves each to the trash or back to its name.
    """
    models = [path for path in root.rglob("*") if path.is_file() and ".store" not in path.relative_to(root).parts]
    trash = [path for path in (root / ".store/trash").iterdir() if path.suffix != ".json"]
    aside = [path for path in (root / ".store/aside").iterdir() if path.match("*.model") or is_claimed_trash(path)]
    return [(path, found) for path in (*models, *trash, *aside) if (found := read(path))]


def is_claimed_trash(path: Path) -> bool:
    """Return whether the file is the model of a trash entry that was being restored."""
    return path.name.startswith("trash~") and path.suffix != ".json"
