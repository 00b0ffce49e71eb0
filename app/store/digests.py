"""Which SHA-256 a model had when it came: a small record for each, good for as long as the model is that version."""

import contextlib
import hashlib
import json
from pathlib import Path

from app.store.inventory import Model


class Digests:
    """The records of one model folder: `<SHA-256 of the name>.json`, each with the name, the etag and the digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def record(self, model: Model, sha256: str) -> None:
        """Note the digest of this version, in place of any other's. Hold the model's lock meanwhile."""
        record = self._record_of(model.name)
        draft = record.with_suffix(".new")
        draft.write_text(json.dumps({"name": model.name, "etag": model.etag, "sha256": sha256}))
        draft.replace(record)

    def of(self, model: Model) -> str | None:
        """The digest that was noted of this very version, in hexadecimal; None when none was, or it has changed."""
        # A record that a lost connection or a power cut left in pieces is none.
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            record = json.loads(self._record_of(model.name).read_text())
            if (record["name"], record["etag"]) == (model.name, model.etag):
                return str(record["sha256"])
        return None

    def forget(self, name: str) -> None:
        """Remove the record of a name."""
        with contextlib.suppress(OSError):
            self._record_of(name).unlink()

    def _record_of(self, name: str) -> Path:
        return self._folder / f"{hashlib.sha256(name.encode()).hexdigest()}.json"
