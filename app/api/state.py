"""The state of every request: the parts of the running service."""

from typing import TypedDict

from app.api.ai.service import TextService
from app.api.compatible.reading import CompatibleReading
from app.api.engine.model_choice import ModelChoice
from app.api.http.auth import Access
from app.api.images.service import RecognitionService
from app.api.models.list_cache import ListCache
from app.api.models.ocr_model_notes import OcrModelNotes
from app.api.models.upload_receiver import UploadReceiver
from app.api.uploads.unfinished_limits import UnfinishedLimits
from app.engine.model_session import ModelSession
from app.engine.ocr_model_leases import OcrModelLeases
from app.engine.ocr_model_refusals import OcrModelRefusals
from app.engine.supervisor import Supervisor
from app.engine.wheel.installed_wheel import InstalledWheel
from app.jobs.folder import Jobs
from app.jobs.units.queue_places import QueuePlaces
from app.jobs.units.unit_runner import UnitRunner
from app.jobs.watcher import JobWatcher
from app.metrics import Metrics
from app.pulls.offer_list import OfferList
from app.pulls.pull_requests import PullRequests
from app.service_description import ServiceDescription
from app.store import Store
from app.store.inventory_watcher import InventoryWatcher
from app.store.volume.monitor import VolumeMonitor
from app.webhooks.outbox import Outbox
from app.webhooks.targets import WebhookTargets


class State(TypedDict):
    """The parts of the service by name. The lifespan creates them; `app.api.http.deps.part` passes one to a route."""

    access: Access
    store: Store
    jobs: Jobs
    job_watcher: JobWatcher
    volume_monitor: VolumeMonitor
    inventory_watcher: InventoryWatcher
    supervisor: Supervisor
    installed_wheel: InstalledWheel
    ocr_model_refusals: OcrModelRefusals
    model_session: ModelSession
    ocr_model_leases: OcrModelLeases
    ocr_model_notes: OcrModelNotes
    model_choice: ModelChoice
    text_service: TextService
    unit_runner: UnitRunner
    queue_places: QueuePlaces
    max_waiting_units: int
    list_cache: ListCache
    upload_receiver: UploadReceiver
    unfinished_limits: UnfinishedLimits
    recognition_service: RecognitionService
    compatible_reading: CompatibleReading
    metrics: Metrics
    service_description: ServiceDescription
    pull_requests: PullRequests
    offer_list: OfferList
    webhook_targets: WebhookTargets
    outbox: Outbox
