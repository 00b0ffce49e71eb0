"""Examples of `/` and `/version`."""

from typing import Any

BY_SCHEMA: dict[str, dict[str, Any]] = {
    "ServiceOut": {
        "name": "ocr-model-service",
        "version": "0.1.0",
        "links": {
            "docs": "/docs",
            "reference": "/redoc",
            "guides": "/guides",
            "document": "/openapi.json",
            "models": "/models",
            "readiness": "/readyz",
            "version": "/version",
        },
    },
    "VersionOut": {
        "name": "ocr-model-service",
        "version": "0.1.0",
        "api_version": "1",
        "vendor_package": "aspose-ocr-python-net",
        "vendor_version": "26.10.0",
        "sbom_file": "/opt/ocr/sbom.cdx.json",
    },
}
