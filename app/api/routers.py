"""Every router of the API."""

from collections.abc import Collection

from fastapi import APIRouter

from app.api.ai import routes as ai
from app.api.ai import tables
from app.api.compatible import docling, mistral, openwebui
from app.api.docs import guide_pages, pages, service_routes
from app.api.engine import capabilities, services
from app.api.engine import routes as engine
from app.api.health import metrics_route, probes
from app.api.maintenance import audit, journal, prune, storage, trash
from app.api.models import content, protection, upload, verification
from app.api.models import routes as models
from app.api.ocr import routes as ocr
from app.api.pulls import routes as pulls
from app.api.resources import routes as resources
from app.api.uploads import routes as uploads

COMPATIBLE = {"docling": docling.router, "mistral": mistral.router, "openwebui": openwebui.router}
"""The routers of the drop-in addresses, by their names in the setting OCR_COMPATIBLE."""


def routers(compatible: Collection[str] = ()) -> tuple[APIRouter, ...]:
    """Return the routers in the order in which a request's path is compared with their routes.

    `compatible` has the names of the drop-in addresses that are on.

    The order decides: the list of models comes first because most requests ask for it; routes below a model's path,
    such as `/models/{name}/verify`, come before `/models/{name}`, whose name may hold slashes.
    """
    return (
        models.list_router,
        protection.router,
        verification.router,
        content.router,
        models.router,
        upload.router,
        uploads.router,
        pulls.router,
        pulls.job_router,
        resources.router,
        trash.router,
        journal.router,
        audit.router,
        prune.router,
        storage.router,
        engine.router,
        services.router,
        capabilities.router,
        ai.router,
        ai.job_router,
        tables.router,
        ocr.router,
        ocr.job_router,
        probes.router,
        metrics_route.router,
        service_routes.router,
        pages.router,
        guide_pages.router,
        *(COMPATIBLE[name] for name in compatible),
    )
