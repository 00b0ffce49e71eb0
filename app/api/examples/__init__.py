"""Examples of answers for the OpenAPI document, by schema, recorded from the service that `make serve` starts."""

from typing import Any

from app.api.examples import capabilities, engine, health, jobs, maintenance, models, resources, service, uploads

BY_SCHEMA: dict[str, dict[str, Any]] = {
    **models.BY_SCHEMA,
    **uploads.BY_SCHEMA,
    **maintenance.BY_SCHEMA,
    **engine.BY_SCHEMA,
    **capabilities.BY_SCHEMA,
    **resources.BY_SCHEMA,
    **jobs.BY_SCHEMA,
    **health.BY_SCHEMA,
    **service.BY_SCHEMA,
}
