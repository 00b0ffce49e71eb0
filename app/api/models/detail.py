"""Builds `ModelDetail`: one model with its header, digest, protection and leases."""

from pathlib import PurePosixPath

from app.api.models.list_cache import ListCache
from app.api.models.schemas import BlockerOut, HeaderOut, ModelDetail, NeededForOut, protection_out
from app.engine.contract.ocr_models import is_ocr_model, why_not_found
from app.engine.contract.wheel_facts import WheelFacts
from app.store import Blocker, Description, Model, Store


def examine(store: Store, list_cache: ListCache, wheel: WheelFacts | None, name: str) -> ModelDetail:
    """Return the detail of a model, read from the disk. Blocks, so use a thread. Raises what `Store.examine` raises."""
    model, header = store.examine(name)
    blockers = store.locks.blockers(model.name)
    return detail_of(model, header, store.digests.of(model), store, list_cache, wheel, blockers)


def detail_of(
    model: Model,
    header: Description,
    sha256: str | None,
    store: Store,
    list_cache: ListCache,
    wheel: WheelFacts | None,
    blockers: list[Blocker],
) -> ModelDetail:
    """Return the detail of a model from its header, digest and leases. Blocks, because the model's records are read.

    `wheel` has the facts of the vendor's package; None while they are not known.
    """
    protection = store.protections.of(model.name)
    return ModelDetail(
        **dict(list_cache.describe(model)) | {"protected": protection is not None},
        header=HeaderOut.model_validate(header),
        sha256=sha256,
        corrupt_since=store.digests.corrupt_since(model),
        blockers=[BlockerOut.model_validate(blocker) for blocker in blockers],
        protected_by=protection_out(protection),
        needed_for=needed_for(model.name, wheel),
        remark=why_not_found(model.name),
    )


def needed_for(name: str, wheel: WheelFacts | None) -> NeededForOut | None:
    """Return what needs an OCR model with this file name, in any folder; None for another model or unknown facts."""
    if wheel is None or not is_ocr_model(name):
        return None
    uses = wheel.uses_of(PurePosixPath(name).name)
    return NeededForOut(**{group: uses.get(group, []) for group in NeededForOut.model_fields})
