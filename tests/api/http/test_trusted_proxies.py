"""`OCR_TRUSTED_PROXIES`: whose `X-Forwarded-For` is believed, and which of its addresses is the caller's."""

import json

import pytest

from app.api.http.middleware.trusted_proxies import TrustedProxies
from tests.conftest import Serve
from tests.support.service import ECHO, RunningService
from tests.support.waiting import eventually

TRUSTED = ("10.0.0.0/8", "192.0.2.7", "fd00::/8")


@pytest.mark.parametrize(
    ("peer", "forwarded", "caller"),
    [
        ("198.51.100.1", ["203.0.113.9"], "198.51.100.1"),  # the peer is no trusted proxy
        ("192.0.2.8", ["203.0.113.9"], "192.0.2.8"),
        ("192.0.2.7", ["203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["6.6.6.6, 203.0.113.9"], "203.0.113.9"),  # the caller sent the first one
        ("10.1.2.3", ["6.6.6.6", "203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["203.0.113.9, 10.9.9.9"], "203.0.113.9"),  # two proxies
        ("10.1.2.3", ["6.6.6.6, 203.0.113.9, 192.0.2.7"], "203.0.113.9"),
        ("10.1.2.3", ["10.8.8.8, 10.9.9.9"], "10.8.8.8"),  # a proxy is the caller itself
        ("10.1.2.3", ["203.0.113.9:4711"], "203.0.113.9"),
        ("fd00::1", ["[2001:db8::1]:4711"], "2001:db8::1"),
        ("fd00::1", ["2001:DB8:0::1"], "2001:db8::1"),
        ("10.1.2.3", ["::ffff:203.0.113.9"], "203.0.113.9"),
        ("10.1.2.3", ["203.0.113.9, unknown"], "10.1.2.3"),
        ("10.1.2.3", ["6.6.6.6, unknown, 10.9.9.9"], "10.9.9.9"),
        ("10.1.2.3", [""], "10.1.2.3"),
        ("10.1.2.3", ["1" * 60_000], "10.1.2.3"),
        ("10.1.2.3", ["\xff\n\"'"], "10.1.2.3"),
        ("a-socket", ["203.0.113.9"], "a-socket"),
    ],
)
def test_the_caller_is_the_last_address_that_no_trusted_proxy_has(peer: str, forwarded: list[str], caller: str) -> None:
    """An address that a caller invents stands before the one that the proxy has seen, and is not used."""
    assert TrustedProxies(TRUSTED).caller_of(peer, [each.encode("latin-1") for each in forwarded]) == caller


def deletion_through(service: RunningService, forwarded: str) -> tuple[str, str]:
    """Delete a model with this header, and return the caller's address in the journal and in the log."""
    service.client.put("/models/a.bin", content=b"x").raise_for_status()
    answer = service.client.delete("/models/a.bin", headers={"x-forwarded-for": forwarded})
    event = service.client.get("/journal").json()["events"][0]
    request_id = answer.headers["x-request-id"]
    lines = eventually(lambda: [line for line in service.log.splitlines() if f'"id": "{request_id}"' in line])
    assert event["request_id"] == request_id
    return event["address"], json.loads(lines[0])["client"]


def test_log_and_journal_have_the_caller_behind_a_trusted_proxy(serve: Serve) -> None:
    """Behind a trusted proxy a deletion is recorded with the caller's address, not with one that the caller invents."""
    service = serve(engine_class=ECHO, trusted_proxies="127.0.0.0/8,10.0.0.0/8")

    assert deletion_through(service, "203.0.113.9") == ("203.0.113.9", "203.0.113.9")
    assert deletion_through(service, "6.6.6.6, 203.0.113.9, 10.1.1.1") == ("203.0.113.9", "203.0.113.9")


def test_a_forged_address_is_not_recorded_as_the_callers(serve: Serve) -> None:
    """A peer that is no trusted proxy is recorded with its own address, whatever it states."""
    service = serve(engine_class=ECHO, trusted_proxies="192.0.2.7")

    assert deletion_through(service, "203.0.113.9") == ("127.0.0.1", "127.0.0.1")
