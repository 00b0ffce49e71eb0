"""`GET /resources`: which OCR models the site offers, which are in the folder, and which the engine needs."""

from typing import Annotated

from fastapi import APIRouter

from app import errors
from app.api.http.auth import GuardedRoute, needs
from app.api.http.deps import StoreDep, WatcherDep, part
from app.api.http.keys import Scope
from app.api.http.problems import problems
from app.api.models.list_cache import ListCache, ListCacheDep
from app.api.models.ocr_model_notes import OcrModelNotes, OcrModelNotesDep
from app.api.resources.schemas import ResourceListOut, ResourceOut
from app.engine.contract.ocr_models import file_of, is_ocr_model, resource_of, why_not_found
from app.pulls.offer_list import OfferList, SiteAnswer
from app.pulls.sources.resources import Offer
from app.store import Inventory, Model

router = APIRouter(tags=["pulls"], route_class=GuardedRoute)
OfferListDep = Annotated[OfferList, part("offer_list")]


@router.get(
    "/resources",
    summary="List OCR models",
    response_description="The OCR models.",
    responses=problems(errors.StoreUnavailable),
    openapi_extra=needs(Scope.READ),
)
async def list_resources(
    _store: StoreDep,
    watcher: WatcherDep,
    list_cache: ListCacheDep,
    offer_list: OfferListDep,
    notes: OcrModelNotesDep,
) -> ResourceListOut:
    """List the OCR models that the site of `OCR_RESOURCES_URL` offers, that the folder has, and that the engine needs.

    `POST /pulls` with `resource` fetches one. The site's list is cached for ten minutes; the answer waits at most five
    seconds for the site. If the site cannot be reached, `remote_error` says why, and the answer has the OCR models in
    the folder.
    """
    inventory = await watcher.current_when_scanned()
    site = await offer_list.current()
    resources = _resources(inventory, site, list_cache, notes)
    return ResourceListOut(
        site_url=offer_list.site_url,
        asked_at=site.asked_at,
        remote_error=site.error,
        count=len(resources),
        resources=resources,
    )


def _resources(
    inventory: Inventory, site: SiteAnswer, list_cache: ListCache, notes: OcrModelNotes
) -> list[ResourceOut]:
    """Return every OCR model that is offered, in the folder or needed, sorted by name."""
    needed = {resource_of(file) for file in notes.needed()}
    offers = {offer.name: offer for offer in site.offers or ()}
    here = {
        resource_of(name): model
        for name, model in inventory.models.items()
        if is_ocr_model(name) and not why_not_found(name)
    }
    return [
        _resource(name, offers.get(name), here.get(name), list_cache, notes, has_list=site.offers is not None)
        for name in sorted(offers.keys() | here.keys() | needed)
    ]


def _resource(
    name: str,
    offer: Offer | None,
    model: Model | None,
    list_cache: ListCache,
    notes: OcrModelNotes,
    *,
    has_list: bool,
) -> ResourceOut:
    described = list_cache.describe(model) if model else None
    return ResourceOut(
        name=name,
        file=file_of(name),
        offered=offer is not None if has_list else None,
        offered_size_bytes=offer.size_bytes if offer else None,
        offered_sha256=offer.sha256 if offer else None,
        here=model is not None,
        size_bytes=described.size_bytes if described else None,
        recognised=described.recognised if described else None,
        in_use=described.in_use if described else False,
        needed_for=notes.needed_for(file_of(name)),
        remark=notes.remark(model) if model else None,
    )
