"""What the service says when it has started: its version, folders, licence, keys and the addresses of its pages.

On a terminal it is a block of lines for people, otherwise one event of the log.
"""

from typing import Any

from app import __version__
from app.cli.own_address import own_url
from app.settings import Settings
from app.terminal import visible

NO_LICENCE = "none: evaluation mode, which cuts recognised texts"
NO_KEYS = "none: every program that reaches this address may change models"
LABELS = {
    "docs_url": "docs page",
    "openapi_url": "OpenAPI",
    "models_dir": "models",
    "state_dir": "state",
    "licence": "licence",
    "keys": "API keys",
}
"""The members that the block shows, in this order, and what it calls them."""


def start_facts(settings: Settings, port: int) -> dict[str, Any]:
    """Return the members of the event `service.started`. `port` is the port that the service listens on."""
    url = own_url(settings, port)
    return {
        "version": __version__,
        "url": url,
        "docs_url": f"{url}/docs",
        "openapi_url": f"{url}/openapi.json",
        "models_dir": str(settings.models_dir.resolve()),
        "state_dir": str(settings.state_dir.resolve()),
        "licence": str(settings.license_file.resolve()) if settings.license_file else NO_LICENCE,
        "keys": str(settings.api_keys_file.resolve()) if settings.api_keys_file else NO_KEYS,
        "read_only": settings.read_only,
    }


def as_block(facts: dict[str, Any]) -> str:
    """Return the facts as lines for a terminal."""
    mode = ", read-only" if facts["read_only"] else ""
    lines = [f"OCR model service {facts['version']} at {facts['url']}{mode}. Ctrl-C ends it."]
    width = max(map(len, LABELS.values()))
    lines += [f"  {label:<{width}}  {visible(str(facts[name]))}" for name, label in LABELS.items()]
    return "\n".join(lines)
