"""Which URLs may be webhooks: those below the prefixes of `OCR_WEBHOOK_ALLOWED_URLS`."""

import re

import httpx

from app.fetching.allowed_urls import is_below
from app.fetching.http_client import shown
from app.store.records.forms import MAX_URL_LENGTH

REQUESTABLE = re.compile(r"[!-~]+")


class WebhookRefused(ValueError):
    """A URL cannot be a webhook; the text says why, and what to do."""


class WebhookTargets:
    """The prefixes of `OCR_WEBHOOK_ALLOWED_URLS`. The URL of a webhook must be below one of them."""

    def __init__(self, urls: tuple[str, ...]) -> None:
        self._allowed = [httpx.URL(url) for url in urls]

    def checked(self, text: str) -> str:
        """Return a webhook's URL as it is requested, without a fragment. Raises WebhookRefused."""
        if not self._allowed:
            raise WebhookRefused(
                "this service sends no webhooks; its operator allows their URLs with OCR_WEBHOOK_ALLOWED_URLS"
            )
        if not text:
            raise WebhookRefused("it is empty; give a URL, or leave it out")
        try:
            url = httpx.URL(text).copy_with(fragment=None)
            is_allowed = any(is_below(url, allowed) for allowed in self._allowed)
        except (httpx.InvalidURL, UnicodeError, ValueError):
            raise WebhookRefused("it is not a valid URL") from None
        if url.userinfo:
            raise WebhookRefused("it must not have a user or a password; the receiver verifies the signature instead")
        if not is_allowed:
            raise WebhookRefused(
                f"{shown(url)} is not below any of the URLs that the operator allows (OCR_WEBHOOK_ALLOWED_URLS)"
            )
        requested = str(url)
        if len(requested) > MAX_URL_LENGTH or not REQUESTABLE.fullmatch(requested):
            raise WebhookRefused(f"it has more than {MAX_URL_LENGTH:,} characters, or some that no URL has")
        return requested
