"""Answers that are sent before the request's body has been read: the caller gets them although it still sends."""

import asyncio
import signal
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from uvicorn.protocols.http.flow_control import FlowControl

from app.api.http.connections import lingering_close
from app.api.http.connections.lingering_close import LingeringClose
from tests.conftest import Serve
from tests.support.clients.raw import RawPut
from tests.support.service import ECHO, RunningService

MIB = 1 << 20
REST_BYTES = 16 * MIB
"""More than the buffers of both ends of a connection hold, so that the service must read it."""


def whole_answer(upload: RawPut) -> bytes:
    """Send the rest of the body after the answer has arrived; then return all that was received."""
    upload.connection.settimeout(60)
    start = upload.connection.recv(10)
    for _ in range(REST_BYTES // MIB):
        upload.send(bytes(MIB))
    return start + b"".join(iter(lambda: upload.connection.recv(1 << 16), b""))


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/models/a.bin", {"content_length": 1 << 60}, 507),
        ("/nowhere", {"content_length": 1 << 60}, 413),
        ("/nowhere", {"transfer_encoding": "chunked"}, 404),
    ],
)
def test_the_answer_arrives_although_the_connection_closes(
    service: RunningService, path: str, body: dict[str, object], status: int
) -> None:
    """A caller that asked for `Connection: close` sends on after the answer, and its connection is not reset."""
    with RawPut(service, path, connection="close", **body) as upload:
        upload.send(b"1000000\r\n" if "transfer_encoding" in body else b"x")
        answer = whole_answer(upload)

    assert answer.startswith(b"HTTP/1.1 %d " % status)
    assert answer.endswith(b"}")
    assert b"\r\nconnection: close\r\n" in answer


def test_a_shutdown_does_not_reset_an_answered_connection(serve: Serve) -> None:
    """A service that stops while a caller still sends the body of an answered request resets no connection."""
    service = serve(engine_class=ECHO)
    is_closed = threading.Event()

    def send_on(upload: RawPut) -> None:
        while not is_closed.is_set():
            upload.send(bytes(MIB))
        upload.send(bytes(REST_BYTES))

    with RawPut(service, "/models/a.bin", content_length=1 << 60) as upload, ThreadPoolExecutor(1) as threads:
        upload.connection.settimeout(60)
        upload.send(b"x")
        start = upload.connection.recv(10)
        sending = threads.submit(send_on, upload)
        service.process.send_signal(signal.SIGTERM)
        try:
            rest = b"".join(iter(lambda: upload.connection.recv(1 << 16), b""))
        finally:
            is_closed.set()
        sending.result()

    assert (start + rest).startswith(b"HTTP/1.1 507 ")
    assert rest.endswith(b"}")
    assert service.process.wait(60) == 0


@pytest.mark.parametrize("caller", ["silent", "endless"])
def test_a_connection_that_the_caller_keeps_open_is_ended(caller: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller that neither stops sending nor closes its connection does not keep it."""
    monkeypatch.setattr(lingering_close, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(lingering_close, "MOST_SECONDS", 1e9 if caller == "silent" else 0.3)
    ours, theirs = socket.socketpair()

    class Receiver(asyncio.Protocol):
        """Passes received bytes to the closing connection, as HttpConnection does."""

        def __init__(self) -> None:
            self.lost = asyncio.Event()
            self.closing: LingeringClose

        def data_received(self, data: bytes) -> None:
            self.closing.drop(data)

        def connection_lost(self, exc: Exception | None) -> None:
            self.closing.forget()
            self.lost.set()

    def send_without_end() -> None:
        with suppress(OSError):
            while True:
                theirs.sendall(bytes(1000))

    async def run() -> None:
        loop = asyncio.get_running_loop()
        transport, receiver = await loop.create_connection(Receiver, sock=ours)
        receiver.closing = LingeringClose(transport, FlowControl(transport), loop)
        receiver.closing.begin()
        async with asyncio.timeout(60):
            await receiver.lost.wait()

    with theirs:
        sender = threading.Thread(target=send_without_end, daemon=True)
        if caller == "endless":
            sender.start()
        asyncio.run(run())
    if caller == "endless":
        sender.join(60)
        assert not sender.is_alive()
