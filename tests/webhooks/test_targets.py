"""Which URLs may be webhooks."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.webhooks.targets import WebhookRefused, WebhookTargets

TARGETS = WebhookTargets(("https://receiver.example/ocr/", "http://[::1]:8443"))


@pytest.mark.parametrize(
    ("url", "requested"),
    [
        ("https://receiver.example/ocr/ended?token=1", "https://receiver.example/ocr/ended?token=1"),
        ("HTTPS://RECEIVER.example:443/ocr/é#part", "https://receiver.example/ocr/%C3%A9"),
        ("http://[::1]:8443", "http://[::1]:8443"),
    ],
)
def test_a_url_is_kept_as_it_is_requested(url: str, requested: str) -> None:
    """A URL below a prefix is allowed, and recorded in ASCII without its fragment."""
    assert TARGETS.checked(url) == requested


@given(st.text() | st.text("./\\%2eE:@[]#?;a0-\u2024\uff0e", max_size=30).map("https://receiver.example/ocr/{}".format))
def test_no_text_leads_elsewhere(text: str) -> None:
    """No text makes the check fail, and none leads out of the allowed folder."""
    try:
        requested = TARGETS.checked(text)
    except WebhookRefused:
        return
    assert re.match(r"https://receiver\.example/ocr([/?]|\Z)", requested)
    assert TARGETS.checked(requested) == requested
