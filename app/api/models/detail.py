"""Builds `ModelDetailOut`: one model with its header, digest, protection and leases."""

from app.api.models.list_cache import ListCache
from app.api.models.ocr_model_notes import OcrModelNotes
from app.api.models.schemas import BlockerOut, ModelDetailOut, ModelHeaderOut, protection_out
from app.store import Blocker, Description, Model, Store


def examine(store: Store, list_cache: ListCache, notes: OcrModelNotes, name: str) -> ModelDetailOut:
    """Return the detail of a model, read from the disk. Raises what `Store.examine` raises.

    This function blocks: call it in a thread.
    """
    model, header = store.examine(name)
    blockers = store.locks.blockers(model.name)
    return detail_of(model, header, store.digests.of(model), store, list_cache, notes, blockers)


def detail_of(
    model: Model,
    header: Description,
    sha256: str | None,
    store: Store,
    list_cache: ListCache,
    notes: OcrModelNotes,
    blockers: list[Blocker],
) -> ModelDetailOut:
    """Return the detail of a model from its header, digest and leases. Blocks, because the model's records are read."""
    protection = store.protections.of(model.name)
    return ModelDetailOut(
        **dict(list_cache.describe(model)) | {"protected": protection is not None},
        header=ModelHeaderOut.model_validate(header),
        sha256=sha256,
        corrupt_since=store.digests.corrupt_since(model),
        blockers=[BlockerOut.model_validate(blocker) for blocker in blockers],
        protected_by=protection_out(protection),
        needed_for=notes.needed_for(model.name),
        remark=notes.remark(model),
    )
