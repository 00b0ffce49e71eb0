"""One attempt to deliver a webhook: a signed POST, as Standard Webhooks describe it, with a CloudEvent as its body."""

import asyncio
import contextlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import httpx
from standardwebhooks import Webhook

from app import tracing
from app.errors import PullsMisconfigured
from app.fetching.foreign_text import printable
from app.fetching.http_client import HttpClient, shown
from app.fetching.rate_limits import pause_asked_for
from app.webhooks.targets import WebhookRefused, WebhookTargets

CLOUD_EVENT = "application/cloudevents+json"
MAX_ANSWER_BYTES = 16 << 10
"""How many bytes of an answer are read, so that its connection can be used again. They are not looked at."""
MAX_ANSWER_SECONDS = 2.0
"""For how many seconds the body of an answer is read after its head has arrived."""


@dataclass(frozen=True, slots=True)
class Attempt:
    """The outcome of one attempt to deliver a webhook."""

    error: str | None = None
    """Why the attempt failed; None if the webhook is delivered."""
    is_final: bool = False
    """True if the receiver wants no further attempt."""
    retry_after_seconds: float | None = None
    """How long the receiver asks to wait before the next attempt; None if it does not say."""


class WebhookSender:
    """Signs webhooks and sends them."""

    def __init__(self, http: HttpClient, targets: WebhookTargets, secrets: Sequence[str], *, seconds: float) -> None:
        """`secrets` are the secrets `whsec_...` that sign each webhook; `seconds` limits the wait for the head."""
        self._http = http
        self._targets = targets
        self._signers = [Webhook(secret) for secret in secrets]
        self._seconds = seconds

    async def aclose(self) -> None:
        """Close the connections to the receivers."""
        await self._http.aclose()

    async def send(self, url: str, event: dict[str, Any]) -> Attempt:
        """Send an event to a URL. Its `id` is the webhook's id too. Redirects are not followed."""
        try:
            target = httpx.URL(self._targets.checked(url))
            client = await self._http.connect()
        except (WebhookRefused, PullsMisconfigured) as exc:
            return Attempt(str(exc))
        body = json.dumps(event, ensure_ascii=False, separators=(",", ":"))
        request = client.build_request("POST", target, content=body.encode(), headers=self._headers(event["id"], body))
        try:
            return await self._sent(client, request)
        except (TimeoutError, httpx.TimeoutException):
            return Attempt(f"the receiver did not answer within {self._seconds:g} s (OCR_WEBHOOK_TIMEOUT)")
        except (httpx.HTTPError, UnicodeError, ValueError) as exc:
            return Attempt(printable(f"the receiver cannot be reached ({type(exc).__name__}: {exc})"))

    def _headers(self, webhook_id: str, body: str) -> dict[str, str]:
        now = datetime.now(UTC)
        return {
            "content-type": CLOUD_EVENT,
            "webhook-id": webhook_id,
            "webhook-timestamp": str(int(now.timestamp())),
            # One signature for each secret: while a secret is replaced, a receiver knows the old or the new one.
            "webhook-signature": " ".join(signer.sign(webhook_id, now, body) for signer in self._signers),
        }

    async def _sent(self, client: httpx.AsyncClient, request: httpx.Request) -> Attempt:
        attributes = {
            "http.request.method": "POST",
            "server.address": request.url.host,
            "url.full": shown(request.url),
        }
        with tracing.span("POST", attributes, kind="CLIENT") as span:
            async with asyncio.timeout(self._seconds):
                response = await client.send(request, stream=True)
            try:
                span.set({"http.response.status_code": response.status_code})
                if not response.is_success:
                    span.fail(str(response.status_code))
                await _read_some(response)
                return _judged(response)
            finally:
                await response.aclose()


async def _read_some(response: httpx.Response) -> None:
    """Read the body of an answer within bounds. Only its status counts, so a body that breaks off is no failure."""
    read = 0
    with contextlib.suppress(httpx.HTTPError, TimeoutError):
        async with asyncio.timeout(MAX_ANSWER_SECONDS):
            async for chunk in response.aiter_raw():
                read += len(chunk)
                if read > MAX_ANSWER_BYTES:
                    return


def _judged(response: httpx.Response) -> Attempt:
    status = response.status_code
    if response.is_success:
        return Attempt()
    if status == httpx.codes.GONE:
        return Attempt("the receiver answered 410: it wants no more webhooks", is_final=True)
    if response.has_redirect_location or response.is_redirect:
        return Attempt(f"the receiver answered {status}, a redirect, which is not followed: give its final URL")
    return Attempt(f"the receiver answered {status}", retry_after_seconds=pause_asked_for(response.headers))
