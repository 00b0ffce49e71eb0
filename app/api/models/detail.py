"""Builds `ModelDetail`: one model with its header, digest, protection and leases."""

from app.api.models.list_cache import ListCache
from app.api.models.schemas import BlockerOut, HeaderOut, ModelDetail, protection_out
from app.engine.contract.ocr_models import why_not_found
from app.store import Blocker, Description, Model, Store


def examine(store: Store, list_cache: ListCache, name: str) -> ModelDetail:
    """Return the detail of a model, read from the disk. Blocks, so use a thread. Raises what `Store.examine` raises."""
    model, header = store.examine(name)
    return detail_of(model, header, store.digests.of(model), store, list_cache, store.locks.blockers(model.name))


def detail_of(
    model: Model,
    header: Description,
    sha256: str | None,
    store: Store,
    list_cache: ListCache,
    blockers: list[Blocker],
) -> ModelDetail:
    """Return the detail of a model from its header, digest and leases. Blocks, because the model's records are read."""
    protection = store.protections.of(model.name)
    return ModelDetail(
        **dict(list_cache.describe(model)) | {"protected": protection is not None},
        header=HeaderOut.model_validate(header),
        sha256=sha256,
        corrupt_since=store.digests.corrupt_since(model),
        blockers=[BlockerOut.model_validate(blocker) for blocker in blockers],
        protected_by=protection_out(protection),
        remark=why_not_found(model.name),
    )
