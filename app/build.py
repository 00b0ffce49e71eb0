"""Builds, from the settings, the parts that the service and the command line share: the store, the jobs, the pulls.

Only this module, `app.build_engine` and `app.build_service` read settings; parts get plain values. Every command
imports this module, so it imports no web framework, and imports an HTTP client only in the functions that build pulls.
"""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from app.engine.contract.wheel_facts import facts_of_installed
from app.events import OnEvent
from app.jobs.folder import Jobs
from app.pulls.pull_jobs import PULL
from app.settings import Settings
from app.store import Policy, Store

if TYPE_CHECKING:
    from app.fetching.http_client import HttpClient
    from app.jobs.units.unit_queue import UnitQueue
    from app.pulls.pull import OnPublished
    from app.pulls.pull_requests import PullRequests
    from app.pulls.pull_units import PullUnits
    from app.pulls.sources.base import Source
    from app.pulls.sources.resources import ResourceSource


def build_store(settings: Settings, on_event: OnEvent) -> Store:
    """Build the store of the model folder. Touches no file: `Store.open` finds or creates the folder."""
    return Store(
        settings.models_dir,
        Policy(settings.old_patterns, settings.protected),
        trash_retention=settings.trash_retention,
        on_event=on_event,
        needed_ocr_models=partial(needed_ocr_models, settings.state_dir.resolve()),
    )


def needed_ocr_models(state_dir: Path) -> frozenset[str] | None:
    """Return the file names of the OCR models that the installed wheel asks for; None if they are not known."""
    facts = facts_of_installed(state_dir)
    return facts.ocr_models if facts else None


def build_jobs(store: Store, on_event: OnEvent = lambda *_: None) -> Jobs:
    """Build the `Jobs` of a store. Their records are in the store's folder."""
    return Jobs(store, {PULL}, on_event)


@dataclass(frozen=True, slots=True)
class PullParts:
    """The parts of pulls."""

    requests: "PullRequests"
    units: "PullUnits"


def build_pulls(
    settings: Settings, store: Store, jobs: Jobs, queue: "UnitQueue", on_published: "OnPublished", on_event: OnEvent
) -> PullParts:
    """Build the parts of pulls into a store. Raises SettingsError if the hub's token cannot be read."""
    from app.pulls.pull import PullLimits  # noqa: PLC0415 - these import an HTTP client
    from app.pulls.pull_requests import PullRequests  # noqa: PLC0415
    from app.pulls.pull_units import PullUnits  # noqa: PLC0415

    sources = build_sources(settings)
    limits = PullLimits(
        retries=settings.pull_retries,
        pause_seconds=settings.pull_retry_pause.total_seconds(),
        partial_retention=settings.partial_retention,
        min_rate=settings.pull_min_rate,
        rate_seconds=settings.pull_stall_timeout.total_seconds() or 60.0,
        max_bytes=settings.max_pull_bytes,
    )
    claims = jobs.units.claims
    return PullParts(
        PullRequests(store, jobs, queue, sources, limits, max_waiting=settings.max_waiting_units),
        PullUnits(store, claims, sources, limits, on_published=on_published, on_event=on_event),
    )


def build_sources(settings: Settings) -> "tuple[Source, ...]":
    """Build the sources of models; `source_for` uses the first that accepts a request.

    Raises SettingsError if the hub's token cannot be read.
    """
    from app.fetching.http_client import HttpClient  # noqa: PLC0415 - see build_pulls()
    from app.pulls.sources.hub import HubSource  # noqa: PLC0415
    from app.pulls.sources.url import UrlSource  # noqa: PLC0415

    http = HttpClient(settings.pull_stall_timeout.total_seconds())
    # The order matters: UrlSource accepts any URL, so a source of another URL scheme comes before it.
    return (
        build_resource_source(settings, http),
        HubSource(http, endpoint=settings.hub_endpoint, token=settings.read_hub_token()),
        UrlSource(http, settings.pull_allowed_urls),
    )


def build_resource_source(settings: Settings, http: "HttpClient") -> "ResourceSource":
    """Build the source of the vendor's OCR models."""
    from app.pulls.sources.resources import ResourceSource  # noqa: PLC0415 - see build_pulls()

    return ResourceSource(http, settings.resources_site, settings.pull_allowed_urls)
