"""Builds all parts of a service from the settings: the store, the engine, and the parts that answer requests.

Only this module, `app.build` and `app.build_engine` read settings; parts get plain values. `app.lifespan` starts the
parts.
"""

import asyncio
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from app.api.ai.service import TextLimits, TextService
from app.api.ai.text_units import TextUnits
from app.api.compatible.reading import CompatibleReading
from app.api.engine.model_choice import ModelChoice
from app.api.http.auth import Access
from app.api.http.keys import Keyring
from app.api.images.downloads import ImageDownloads
from app.api.images.receiver import ImageReceiver
from app.api.images.service import RecognitionService
from app.api.jobs.webhooks import cloud_event
from app.api.models.list_cache import ListCache
from app.api.models.ocr_model_notes import OcrModelNotes
from app.api.models.upload_receiver import UploadReceiver
from app.api.ocr.image_units import ImageUnits
from app.api.state import State
from app.api.uploads.unfinished_limits import UnfinishedLimits
from app.build import build_jobs, build_pulls, build_resource_source, build_store
from app.build_engine import build_model_session, build_ocr_model_leases, build_supervisor, build_workdirs
from app.engine.contract.recognition_call import ImageLimits
from app.engine.native.workdir import WorkDirectories
from app.engine.ocr_model_leases import OcrModelLeases
from app.engine.ocr_model_refusals import OcrModelRefusals
from app.engine.supervisor import Supervisor
from app.engine.text_runner import TextRunner
from app.engine.wheel.installed_wheel import InstalledWheel
from app.events import OnEvent
from app.fetching.allowed_urls import AllowedUrls
from app.fetching.checked_chunks import LeastRate
from app.fetching.http_client import HttpClient
from app.jobs.folder import Jobs
from app.jobs.records import Job
from app.jobs.units.folder_queue import FolderQueue
from app.jobs.units.kinds import ItemJobKind
from app.jobs.units.lanes import Lanes
from app.jobs.units.processor_preference import ProcessorPreference
from app.jobs.units.queue_places import QueuePlaces
from app.jobs.units.unit_queue import UnitQueue, queue_of
from app.jobs.units.unit_runner import UnitRunner
from app.jobs.units.unit_work import UnitWork
from app.jobs.watcher import JobWatcher
from app.metrics import Metrics
from app.pulls.offer_list import OfferList
from app.pulls.pull_jobs import PULL
from app.service_description import ServiceDescription
from app.settings import Settings, SettingsError
from app.store import Store
from app.store.inventory_watcher import InventoryWatcher
from app.store.volume.living_services import LivingServices
from app.store.volume.monitor import VolumeMonitor
from app.webhooks.deliverer import RetryLimits, WebhookDeliverer
from app.webhooks.outbox import Outbox
from app.webhooks.sender import WebhookSender
from app.webhooks.targets import WebhookTargets


@dataclass(frozen=True, slots=True)
class Parts:
    """The parts of one service."""

    state: State
    """The parts that requests use."""
    workdirs: WorkDirectories
    idle_seconds: float
    """How many seconds the engine may be unused before it is released; 0 to never release the engine."""
    job_retention: timedelta
    """How long a finished job is kept."""
    deliverer: WebhookDeliverer | None
    """The part that sends webhooks; None if no URLs are allowed."""


async def build_parts(settings: Settings, metrics: Metrics, on_event: OnEvent) -> Parts:
    """Build every part of a service, and open its store. Raises KeysError, SettingsError, StoreError, OSError."""
    access = await asyncio.to_thread(build_access, settings)
    store = build_store(settings, on_event)
    jobs = build_jobs(store, on_event)
    job_watcher = JobWatcher(jobs)
    await asyncio.to_thread(store.open)
    volume_monitor = build_volume_monitor(settings, store, on_event)
    workdirs = await asyncio.to_thread(build_workdirs, settings, store.root)
    wheel = await asyncio.to_thread(InstalledWheel, workdirs, settings.state_dir.resolve(), on_event)
    supervisor = build_supervisor(settings, store.root, workdirs, on_event)
    session = build_model_session(settings, store, supervisor, on_event)
    model_choice = ModelChoice(store, supervisor, session)
    watcher = build_inventory_watcher(store, supervisor, volume_monitor, on_event)
    ocr_model_leases = build_ocr_model_leases(store, watcher, volume_monitor, wheel)
    refusals = OcrModelRefusals()
    recognition = build_recognition_service(settings, supervisor, workdirs, ocr_model_leases, refusals)
    text_service = build_text_service(settings, model_choice, TextRunner(supervisor, session, on_event))
    queue = build_unit_queue(settings, jobs, on_event)
    pulls = build_pulls(settings, store, jobs, queue, lambda model: watcher.refresh(model.name), on_event)
    targets = WebhookTargets(settings.webhook_allowed_urls)
    outbox = build_outbox(settings, store, jobs)
    state = State(
        access=access,
        store=store,
        jobs=jobs,
        job_watcher=job_watcher,
        volume_monitor=volume_monitor,
        inventory_watcher=watcher,
        supervisor=supervisor,
        installed_wheel=wheel,
        model_session=session,
        ocr_model_leases=ocr_model_leases,
        ocr_model_refusals=refusals,
        ocr_model_notes=OcrModelNotes(wheel, refusals),
        model_choice=model_choice,
        text_service=text_service,
        max_waiting_units=settings.max_waiting_units,
        unit_runner=build_unit_runner(
            queue,
            jobs,
            {
                ItemJobKind.IMAGES: ImageUnits(recognition),
                ItemJobKind.TEXTS: TextUnits(text_service),
                PULL: pulls.units,
            },
            Lanes(pulls=settings.pulls_at_once),
            job_watcher,
            volume_monitor.services,
            on_event,
        ),
        queue_places=QueuePlaces(jobs),
        list_cache=ListCache(store, watcher, supervisor),
        upload_receiver=build_upload_receiver(settings),
        unfinished_limits=UnfinishedLimits(
            total=settings.max_unfinished_uploads, per_key=settings.max_unfinished_uploads_per_key
        ),
        recognition_service=recognition,
        compatible_reading=CompatibleReading(recognition, settings.compatible_language),
        metrics=metrics,
        service_description=ServiceDescription(
            volume_monitor.services,
            supervisor,
            session,
            name=settings.served_by,
            host=socket.gethostname() if settings.served_by else None,
            is_read_only=settings.read_only,
        ),
        offer_list=OfferList(build_resource_source(settings, HttpClient(settings.pull_stall_timeout.total_seconds()))),
        pull_requests=pulls.requests,
        webhook_targets=targets,
        outbox=outbox,
    )
    return Parts(
        state,
        workdirs,
        settings.engine_idle_release.total_seconds(),
        settings.job_retention,
        build_deliverer(settings, store, outbox, targets, on_event),
    )


def build_outbox(settings: Settings, store: Store, jobs: Jobs) -> Outbox:
    """Build the outbox of webhooks. A service that sends none keeps their jobs for as long as others may send them."""
    return Outbox(store, jobs, keep=None if settings.webhook_allowed_urls else settings.webhook_retry_time)


def build_deliverer(
    settings: Settings, store: Store, outbox: Outbox, targets: WebhookTargets, on_event: OnEvent
) -> WebhookDeliverer | None:
    """Build the part that sends webhooks; None if no URLs are allowed. Raises SettingsError for a wrong secret."""
    secrets = settings.read_webhook_secrets()
    if not settings.webhook_allowed_urls:
        return None
    seconds = settings.webhook_timeout.total_seconds()
    sender = WebhookSender(HttpClient(seconds), targets, secrets, seconds=seconds)
    limits = RetryLimits(settings.webhook_retry_pause.total_seconds(), settings.webhook_retry_time.total_seconds())

    def event_of(job: Job) -> dict[str, Any]:
        return cloud_event(job, f"urn:ocr-model-folder:{store.volume.identity.id}")

    return WebhookDeliverer(outbox, sender, limits, event_of, on_event)


def build_access(settings: Settings) -> Access:
    """Read the file of API keys, if there is one. Blocks; raises KeysError."""
    keyring = Keyring.load(settings.api_keys_file) if settings.api_keys_file else None
    return Access(keyring, read_only=settings.read_only)


def build_volume_monitor(settings: Settings, store: Store, on_event: OnEvent) -> VolumeMonitor:
    """Build the monitor of the store's volume.

    In a read-only service the monitor only checks whether the volume answers.
    """
    return VolumeMonitor(store.volume, on_event, is_single=settings.single_service, is_observer=settings.read_only)


def build_inventory_watcher(
    store: Store, supervisor: Supervisor, volume_monitor: VolumeMonitor, on_event: OnEvent
) -> InventoryWatcher:
    """Build the watcher of the model folder. It passes each new inventory, the result of a scan, to the supervisor."""

    def on_change() -> None:
        supervisor.note_models(watcher.inventory.models if watcher.inventory else {})

    watcher = InventoryWatcher(
        store, on_change=on_change, on_event=on_event, unanswered=lambda: volume_monitor.unanswered
    )
    return watcher


def build_text_service(settings: Settings, model_choice: ModelChoice, runner: TextRunner) -> TextService:
    """Build the service that processes texts with a language model."""
    limits = TextLimits(settings.ai_max_text_bytes, settings.engine_call_timeout.total_seconds())
    return TextService(model_choice, runner, limits)


def build_recognition_service(
    settings: Settings,
    supervisor: Supervisor,
    workdirs: WorkDirectories,
    ocr_model_leases: OcrModelLeases,
    refusals: OcrModelRefusals,
) -> RecognitionService:
    """Build the service that recognises text in images."""
    receiver = ImageReceiver(
        workdirs.folder_for_call,
        max_bytes=settings.max_image_bytes,
        max_json_bytes=settings.max_body_bytes,
        stall_seconds=settings.upload_stall_timeout.total_seconds(),
    )
    return RecognitionService(
        supervisor,
        receiver,
        build_image_downloads(settings),
        ocr_model_leases,
        refusals,
        ImageLimits(settings.max_image_pixels, settings.max_image_pages),
        max_files=settings.max_image_files,
        seconds=settings.recognition_timeout.total_seconds(),
    )


def read_queue_url(settings: Settings) -> str | None:
    """Return the URL of the queue's database, None without one. Raises SettingsError if no queue can be built with it.

    The message does not quote the URL, because it may have a password. The server is not asked.
    """
    url = settings.read_jobs_url()
    if url is None:
        return None
    try:
        from app.jobs.database.connection import is_url  # noqa: PLC0415 - an extra, which a folder does not need
    except ImportError as exc:
        raise SettingsError(
            f"OCR_JOBS_URL needs the extra `cluster`, which is not installed ({exc}). Install it: "
            "pip install 'ocr-model-service[cluster]'"
        ) from exc
    if not is_url(url):
        raise SettingsError(
            f"{settings.jobs_url_source}: it is not a URL such as postgresql://user:password@host:5432/database, or "
            "has a parameter that PostgreSQL does not know. In the user and the password, write each of @ : / ? # % as "
            "% and its two hexadecimal digits, such as %40 for @"
        )
    return url


def build_unit_queue(settings: Settings, jobs: Jobs, on_event: OnEvent) -> UnitQueue:
    """Build the queue of units: of the folder alone, or in a database. Raises SettingsError."""
    url = read_queue_url(settings)
    if url is None:
        return FolderQueue(jobs)
    from app.jobs.database.database_queue import DatabaseQueue  # noqa: PLC0415 - as above

    return DatabaseQueue(jobs, url, on_event)


def build_unit_runner(
    queue: UnitQueue,
    jobs: Jobs,
    works: Mapping[str, UnitWork],
    lanes: Lanes,
    watcher: JobWatcher,
    services: LivingServices,
    on_event: OnEvent,
) -> UnitRunner:
    """Build the runner of the units of all jobs. `works` has the work of each kind of job."""
    preference = ProcessorPreference(
        services.living_services, lambda: {queue_of(job) for job in jobs.unfinished_of_units()}
    )
    return UnitRunner(queue, works, on_event, on_written=watcher.look, lanes=lanes, preference=preference)


def build_image_downloads(settings: Settings) -> ImageDownloads:
    """Build the part that downloads images from URLs, under the limits of pulls and of images."""
    stall_seconds = settings.pull_stall_timeout.total_seconds()
    return ImageDownloads(
        HttpClient(stall_seconds),
        AllowedUrls(settings.pull_allowed_urls),
        LeastRate(settings.pull_min_rate, stall_seconds or 60.0),
        max_bytes=settings.max_image_bytes,
        seconds=settings.image_download_timeout.total_seconds(),
    )


def build_upload_receiver(settings: Settings) -> UploadReceiver:
    """Build the part that receives the bodies of uploads."""
    return UploadReceiver(
        max_uploads=settings.max_uploads,
        max_bytes=settings.max_upload_bytes,
        stall_seconds=settings.upload_stall_timeout.total_seconds(),
        retention=settings.partial_retention,
    )
