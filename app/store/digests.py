"""Which SHA-256 a model had when it came: a small record for each, good for as long as the model is that version."""

import contextlib
from pathlib import Path

from app.store.inventory import Model
from app.store.name_records import NameRecords


class Digests:
    """The records of one model folder, each with the name, the etag and the digest."""

    def __init__(self, folder: Path) -> None:
        self._records = NameRecords(folder)

    def record(self, model: Model, sha256: str) -> None:
        """Note the digest of this version, in place of any other's. Hold the model's lock meanwhile."""
        self._records.write(model.name, {"etag": model.etag, "sha256": sha256})

    def of(self, model: Model) -> str | None:
        """The digest that was noted of this very version, in hexadecimal; None when none was, or it has changed."""
        record = self._records.read(model.name)
        return record.get("sha256") if record and record.get("etag") == model.etag else None

    def forget(self, name: str) -> None:
        """Remove the record of a name."""
        with contextlib.suppress(OSError):
            self._records.remove(name)
