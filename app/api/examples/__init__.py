"""The answers that the docs page shows: true ones, of the service that `make serve` starts."""

from typing import Any

from app.api.examples import engine, jobs, maintenance, models

BY_SCHEMA: dict[str, dict[str, Any]] = {
    **models.BY_SCHEMA,
    **maintenance.BY_SCHEMA,
    **engine.BY_SCHEMA,
    **jobs.BY_SCHEMA,
}
