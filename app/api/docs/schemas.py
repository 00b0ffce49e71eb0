"""The schemas of `/` and `/version`."""

from app.api.http.schema import Schema


class LinksOut(Schema):
    """Paths of this service, below its path prefix if it has one."""

    docs: str
    """The docs page, which can call every operation."""
    reference: str
    """The reference page, for reading."""
    guides: str
    """The guides: how to use the service, and how to run it."""
    document: str
    """The OpenAPI document."""
    models: str
    """The list of the models."""
    readiness: str
    """The readiness probe."""
    version: str
    """The versions."""

    @staticmethod
    def paths() -> dict[str, str]:
        """Return the path of each link, without the prefix and its slash."""
        return {
            "docs": "docs",
            "reference": "redoc",
            "guides": "guides",
            "document": "openapi.json",
            "models": "models",
            "readiness": "readyz",
            "version": "version",
        }


class ServiceOut(Schema):
    """What this service is, and where its pages are."""

    name: str
    """The name of the service."""
    version: str
    """The version of the service."""
    links: LinksOut
    """Where to read more."""


class VersionOut(Schema):
    """The versions of the service and of what it runs."""

    name: str
    """The name of the service."""
    version: str
    """The version of the service."""
    api_version: str
    """The version of the API. It changes when a client of the earlier version would fail."""
    vendor_package: str
    """The name of the vendor's package."""
    vendor_version: str
    """The version of the vendor's package that is installed."""
    sbom_file: str | None
    """The path of the CycloneDX file (SBOM) of the installed packages, on the service's disk; null without one."""
