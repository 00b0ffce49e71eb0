"""The service with one more route, which calls any method of the engine. No other route has calls of a chosen duration.

Run it like the service: `python -m tests.support.calling_app serve`.
"""

from typing import Any

from fastapi import APIRouter, FastAPI

import app.main
from app.api.engine.deps import SupervisorDep
from app.cli import main
from app.settings import Settings

create_app = app.main.create_app
router = APIRouter()


@router.post("/test/call/{name}")
async def call(name: str, params: dict[str, Any], seconds: float, supervisor: SupervisorDep) -> Any:
    """Call a method of the engine and return its result."""
    return await supervisor.call(name, params, seconds=seconds)


def create_calling_app(settings: Settings) -> FastAPI:
    """Return the service's application with the additional route."""
    application = create_app(settings)
    application.router.routes.extend(router.routes)
    return application


if __name__ == "__main__":
    app.main.create_app = create_calling_app
    main.main()
