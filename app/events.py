"""Declares every event that the service reports, with its name and its level in the log.

Parts report events to an `OnEvent` callback, which `app.lifespan` connects with the log and the metrics. Events of the
process itself (settings, requests, shutdown) are logged directly; their names are declared here too.
"""

import logging
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Self


class EventName(StrEnum):
    """The name of an event in the log, and its `level`, which is one of the levels of `logging`."""

    level: int

    def __new__(cls, name: str, level: int = logging.INFO) -> Self:
        """Create a member from its name and its level."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.level = level
        return member

    # The first six names are "engine." and a state of app.engine.states.
    ENGINE_STOPPED = "engine.stopped"
    ENGINE_STARTING = "engine.starting"
    ENGINE_READY = "engine.ready"
    ENGINE_STOPPING = "engine.stopping"
    ENGINE_BACKING_OFF = "engine.backing_off", logging.WARNING
    ENGINE_FAILED = "engine.failed", logging.WARNING
    ENGINE_DIED = "engine.died", logging.WARNING
    ENGINE_EXITED = "engine.exited"
    ENGINE_LICENSE_REFUSED = "engine.license_refused", logging.WARNING
    ENGINE_STATUS_FAILED = "engine.status_failed"
    ENGINE_LOADED = "engine.loaded"
    ENGINE_CALLED = "engine.called"
    ENGINE_RECYCLED = "engine.recycled", logging.WARNING
    ENGINE_RELEASED = "engine.released"
    ENGINE_OUTPUT = "engine.output"
    ENGINE_WHEEL_ASKED = "engine.wheel_asked"
    ENGINE_WHEEL_UNKNOWN = "engine.wheel_unknown", logging.WARNING

    # Each of these names is "model." and an action of app.store.journal.entries.
    MODEL_UPLOADED = "model.uploaded"
    MODEL_PULLED = "model.pulled"
    MODEL_TRASHED = "model.trashed"
    MODEL_DELETED = "model.deleted"
    MODEL_RESTORED = "model.restored"
    MODEL_PURGED = "model.purged"
    MODEL_PROTECTED = "model.protected"
    MODEL_UNPROTECTED = "model.unprotected"

    STORE_AVAILABLE = "store.available"
    STORE_UNAVAILABLE = "store.unavailable", logging.WARNING
    STORE_REMADE = "store.remade", logging.WARNING
    STORE_WATCH_FAILED = "store.watch_failed", logging.WARNING
    CHANGE_INCOMPLETE = "change.incomplete", logging.WARNING
    JOURNAL_FAILED = "journal.failed", logging.WARNING
    JOURNAL_CAUGHT_UP = "journal.caught_up"
    LEASE_LOST = "lease.lost", logging.WARNING
    LEASE_RETAKEN = "lease.retaken", logging.WARNING
    RECORD_DAMAGED = "record.damaged", logging.WARNING
    STAGING_SWEPT = "staging.swept"
    TRASH_SWEEP_FAILED = "trash.sweep_failed", logging.WARNING
    VOLUME_ANSWERED = "volume.answered"
    VOLUME_CHECK_FAILED = "volume.check_failed", logging.WARNING
    VOLUME_CHECK_PASSED = "volume.check_passed"
    VOLUME_UNANSWERED = "volume.unanswered", logging.WARNING

    JOB_STARTED = "job.started"
    JOB_FINISHED = "job.finished"
    JOB_CRASHED = "job.crashed", logging.ERROR
    JOB_UNRECORDED = "job.unrecorded", logging.WARNING
    QUEUE_AWAY = "queue.away", logging.WARNING
    QUEUE_BACK = "queue.back"
    PULL_STARTED = "pull.started"
    PULL_RETRIED = "pull.retried"
    PULL_FINISHED = "pull.finished"
    PULL_UNRECORDED = "pull.unrecorded", logging.WARNING
    WEBHOOK_DELIVERED = "webhook.delivered"
    WEBHOOK_RETRIED = "webhook.retried"
    WEBHOOK_FAILED = "webhook.failed", logging.WARNING
    WEBHOOK_UNRECORDED = "webhook.unrecorded", logging.WARNING

    CONNECTIONS_FULL = "connections.full", logging.WARNING
    REQUEST = "request"
    REQUEST_CUT = "request.cut", logging.WARNING
    REQUEST_DISK_FAILED = "request.disk_failed", logging.WARNING
    REQUEST_REFUSED = "request.refused"
    REQUEST_CRASHED = "request.crashed", logging.ERROR
    RESOURCES_EXHAUSTED = "resources.exhausted", logging.WARNING
    SERVICE_CANNOT_START = "service.cannot_start", logging.CRITICAL
    SERVICE_CANNOT_LISTEN = "service.cannot_listen", logging.ERROR
    SERVICE_STARTED = "service.started"
    SERVICE_DRAINING = "service.draining"
    SERVICE_FAULT_FOUND = "service.fault_found", logging.ERROR
    SERVICE_PART_RESTARTED = "service.part_restarted", logging.ERROR
    SERVICE_PART_FAILED = "service.part_failed", logging.CRITICAL
    SERVICE_UNLICENSED = "service.unlicensed", logging.CRITICAL
    SERVICE_SHUTDOWN_OVERDUE = "service.shutdown_overdue", logging.CRITICAL
    SETTINGS_ANONYMOUS = "settings.anonymous", logging.WARNING
    TRACING_UNAVAILABLE = "tracing.unavailable", logging.WARNING
    SETTINGS_UNKNOWN = "settings.unknown", logging.WARNING


OnEvent = Callable[[EventName, dict[str, Any]], None]
"""Receives each event with its fields. It must not raise, and it may be called from any thread."""
