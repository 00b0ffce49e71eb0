"""Sends the webhooks of finished jobs, again and again until each is delivered or given up."""

import asyncio
import contextlib
import random
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, TypeVar
from urllib.parse import urlsplit

import anyio
from anyio import CancelScope, CapacityLimiter, to_thread
from anyio.abc import TaskGroup

from app.errors import StoreError
from app.events import EventName, OnEvent
from app.fetching.http_client import label_of
from app.jobs.recording import until_written
from app.jobs.records import Job
from app.tracing import linked_span
from app.webhooks.outbox import LONGEST_PAUSE_SECONDS, LONGEST_RETRY_AFTER_SECONDS, HeldDelivery, Outbox, Owed
from app.webhooks.records import Delivery, DeliveryState
from app.webhooks.sender import Attempt, WebhookSender

T = TypeVar("T")
EventOf = Callable[[Job], dict[str, Any]]
"""Returns the CloudEvent that tells the end of a job. It returns the same event each time, because webhooks are sent
again."""

AT_ONCE = 64
"""How many webhooks a service sends at once."""
AT_ONCE_PER_HOST = 4
"""How many webhooks a service sends at once to one host; only one while the host's last attempt failed."""
POLL_INTERVAL_SECONDS = 1.0
POLL_SHARE = 20
"""A pause is at least this many times as long as the look before it, so that many jobs do not keep the disk busy."""
UNRECORDED_PAUSE_SECONDS = 60.0
"""The pause, in seconds, before a webhook is sent again whose record could not be written."""
MAX_ERROR_CHARS = 500


@dataclass(frozen=True, slots=True)
class RetryLimits:
    """How long a webhook is tried, and how often."""

    pause_seconds: float
    """The pause after the first failure; it doubles at each failure, up to LONGEST_PAUSE_SECONDS."""
    total_seconds: float
    """The sum of the pauses after which a webhook is given up."""


class WebhookDeliverer:
    """Looks for webhooks that are due, and sends them. A slow receiver does not delay the webhooks of other hosts."""

    def __init__(
        self, outbox: Outbox, sender: WebhookSender, limits: RetryLimits, event_of: EventOf, on_event: OnEvent
    ) -> None:
        self._outbox = outbox
        self._sender = sender
        self._limits = limits
        self._event_of = event_of
        self._on_event = on_event
        self._threads = CapacityLimiter(4)  # own threads, so that a volume that does not answer delays no other work
        self._waiting: list[Owed] = []
        self._running = set[str]()
        self._hosts = Counter[str]()
        self._failing = set[str]()
        """The hosts whose last attempt failed."""

    async def run(self) -> None:
        """Send webhooks until cancelled. A webhook whose sending is interrupted is sent again, by any service."""
        try:
            async with anyio.create_task_group() as tasks:
                while True:
                    began = time.monotonic()
                    # If the model folder is missing, there are no jobs; requests for models report the reason.
                    with contextlib.suppress(StoreError, OSError):
                        self._waiting = await self._in_thread(self._outbox.due)
                        self._start_some(tasks)
                    pause_seconds = POLL_SHARE * (time.monotonic() - began)
                    await asyncio.sleep(max(POLL_INTERVAL_SECONDS, pause_seconds))
        finally:
            with CancelScope(shield=True):
                await self._sender.aclose()

    def _start_some(self, tasks: TaskGroup) -> None:
        """Start the deliveries for which there is room, in turns between the hosts, those of the oldest jobs first."""
        by_host: dict[str, list[Owed]] = {}
        for owed in reversed(self._waiting):
            if owed.job_id not in self._running:
                by_host.setdefault(_host_of(owed), []).append(owed)
        while len(self._running) < AT_ONCE:
            free = [host for host, found in by_host.items() if found and self._hosts[host] < self._most(host)]
            if not free:
                return
            host = min(free, key=lambda host: self._hosts[host])
            owed = by_host[host].pop()
            self._running.add(owed.job_id)
            self._hosts[host] += 1
            self._waiting.remove(owed)
            tasks.start_soon(self._deliver_one, owed, host, tasks)

    def _most(self, host: str) -> int:
        return 1 if host in self._failing else AT_ONCE_PER_HOST

    async def _deliver_one(self, owed: Owed, host: str, tasks: TaskGroup) -> None:
        try:
            await self._deliver(owed, host)
        except (StoreError, OSError) as exc:
            self._outbox.postpone(owed, UNRECORDED_PAUSE_SECONDS)
            self._on_event(EventName.WEBHOOK_UNRECORDED, {"job_id": owed.job_id, "error": str(exc)})
        except Exception as exc:  # noqa: BLE001 - a defect; one webhook must not stop the others
            self._outbox.postpone(owed, LONGEST_PAUSE_SECONDS)
            self._on_event(EventName.SERVICE_PART_RESTARTED, {"part": "webhooks", "exc_info": exc})
        finally:
            self._running.discard(owed.job_id)
            self._hosts[host] -= 1
        self._start_some(tasks)

    async def _deliver(self, owed: Owed, host: str) -> None:
        held = await self._in_thread(self._outbox.hold, owed)
        if held is None:
            return
        try:
            with linked_span("webhook", {"ocr.job.id": owed.job_id}, held.job.traceparent):
                await self._attempt(held, owed, host)
        finally:
            with CancelScope(shield=True):
                await self._in_thread(held.release)

    async def _attempt(self, held: HeldDelivery, owed: Owed, host: str) -> None:
        began = time.monotonic()
        attempt = await self._sender.send(owed.url, await self._in_thread(self._event_of, held.job))
        (self._failing.add if attempt.error else self._failing.discard)(host)
        delivery = delivery_after(held.delivery, attempt, self._limits)
        # The lock is held until the outcome is written, so that no other service sends it again meanwhile.
        await until_written(partial(held.write, delivery))
        about = {
            "job_id": owed.job_id,
            "url": label_of(owed.url),
            "attempts": delivery.attempts,
            "seconds": round(time.monotonic() - began, 3),
        }
        if delivery.state is DeliveryState.DELIVERED:
            self._on_event(EventName.WEBHOOK_DELIVERED, about)
        elif delivery.state is DeliveryState.FAILED:
            self._on_event(EventName.WEBHOOK_FAILED, about | {"error": delivery.last_error})
        else:
            next_at = delivery.next_attempt_at.isoformat() if delivery.next_attempt_at else None
            self._on_event(
                EventName.WEBHOOK_RETRIED, about | {"error": delivery.last_error, "next_attempt_at": next_at}
            )

    async def _in_thread(self, function: Callable[..., T], *arguments: object) -> T:
        return await to_thread.run_sync(function, *arguments, limiter=self._threads)


def delivery_after(delivery: Delivery, attempt: Attempt, limits: RetryLimits) -> Delivery:
    """Return a delivery as it is after an attempt: delivered, given up, or pending until the next attempt."""
    now = datetime.now(UTC)
    delivery = replace(delivery, attempts=delivery.attempts + 1, updated_at=now, last_error=None, next_attempt_at=None)
    if attempt.error is None:
        return replace(delivery, state=DeliveryState.DELIVERED)
    delivery = replace(delivery, last_error=attempt.error[:MAX_ERROR_CHARS])
    left_seconds = limits.total_seconds - delivery.waited_seconds
    if attempt.is_final or left_seconds <= 0:
        return replace(delivery, state=DeliveryState.FAILED)
    pause_seconds = min(_pause_seconds(delivery.attempts, attempt, limits), left_seconds)
    return replace(
        delivery,
        waited_seconds=delivery.waited_seconds + pause_seconds,
        next_attempt_at=now + timedelta(seconds=pause_seconds),
    )


def _pause_seconds(attempts: int, attempt: Attempt, limits: RetryLimits) -> float:
    """Return the pause before the next attempt. It is partly random, so that services spread their attempts."""
    doubled = limits.pause_seconds * 2.0 ** min(attempts - 1, 30)
    pause_seconds = min(LONGEST_PAUSE_SECONDS, doubled) * random.uniform(0.5, 1.0)  # noqa: S311 - not for a secret
    return max(pause_seconds, min(attempt.retry_after_seconds or 0.0, LONGEST_RETRY_AFTER_SECONDS))


def _host_of(owed: Owed) -> str:
    return urlsplit(owed.url).netloc
