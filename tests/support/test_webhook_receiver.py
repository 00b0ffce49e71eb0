"""The receiver of webhooks, and a sender that is killed while it sends."""

import socket
from urllib.parse import urlsplit

import httpx
import pytest

from tests.support.webhook_receiver import WebhookReceiver


@pytest.mark.parametrize("sent", ["", "{"], ids=["nothing", "a part"])
def test_a_request_that_was_cut_off_has_not_arrived(sent: str) -> None:
    """A request of which only the head and a part of the body arrive is no event; the next request is one."""
    with WebhookReceiver() as receiver:
        address = urlsplit(receiver.url)
        with socket.create_connection((address.hostname, address.port), timeout=60) as sender:
            sender.sendall(f"POST /cut HTTP/1.1\r\ncontent-length: 2\r\n\r\n{sent}".encode())
            sender.shutdown(socket.SHUT_WR)
            assert sender.recv(1) == b""
        assert httpx.post(f"{receiver.url}/whole", content=b"{}", timeout=60).status_code == 200

        assert [(each.path, each.body) for each in receiver.sent] == [("/whole", b"{}")]
