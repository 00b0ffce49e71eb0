"""Callers that take an answer, or send the rest of a refused body, too slowly. The test sets the clock."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

from app.api.http.connections.gate import ConnectionGate
from app.api.http.connections.progress import LEAST_BYTES_A_SECOND, WINDOW_SECONDS, Progress
from app.api.http.connections.protocol import CallerTimes, HttpConnection
from tests.support.waiting import eventually_async

BODY_SECONDS = 50.0
ANSWER = b"x" * (8 << 20)
REQUEST = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


async def answer(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer at once, without reading the body; read it first if the method is PUT."""
    while scope["method"] == "PUT" and (await receive()).get("more_body"):
        pass
    length = str(len(ANSWER)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": ANSWER})


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[HttpConnection, socket.socket]]:
    """Yield one connection of a server, and the caller's end of it, which does not block."""
    loop = asyncio.get_running_loop()
    config = uvicorn.Config(answer, log_config=None, lifespan="off", ws="none")
    made: list[HttpConnection] = []

    def make() -> HttpConnection:
        gate = ConnectionGate(10, print)
        made.append(
            HttpConnection(
                gate=gate,
                times=CallerTimes(20, BODY_SECONDS),
                on_refused=print,
                config=config,
                server_state=ServerState(),
                app_state={},
            )
        )
        return made[-1]

    server = await loop.create_server(make, "127.0.0.1", 0)
    with socket.socket() as caller:
        caller.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        caller.settimeout(0)
        await loop.sock_connect(caller, server.sockets[0].getsockname())
        await eventually_async(lambda: made and made[0].transport, within=30)
        yield made[0], caller
    server.close()


async def receive(caller: socket.socket, least: int) -> int:
    """Receive at least that many bytes, and return how many came; less at the end."""
    loop, count = asyncio.get_running_loop(), 0
    while count < least:
        try:
            chunk = await loop.sock_recv(caller, 1 << 16)
        except ConnectionError:
            break
        if not chunk:
            break
        count += len(chunk)
    return count


@pytest.mark.anyio
async def test_a_caller_that_does_not_read_its_answer_is_cut_off() -> None:
    """If the caller takes less than 1 KiB a second of its answer, the connection ends."""
    async with connected() as (connection, caller):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(caller, REQUEST)
        await eventually_async(connection.transport.get_write_buffer_size, within=30)
        await asyncio.sleep(0.2)  # until the kernel's buffers are full
        now = loop.time()

        connection.end_if_overdue(now)
        connection.end_if_overdue(now + WINDOW_SECONDS - 1)
        assert not connection.transport.is_closing()
        connection.end_if_overdue(now + WINDOW_SECONDS + 1)

        assert connection.transport.is_closing()


@pytest.mark.anyio
async def test_a_caller_that_reads_slowly_gets_its_whole_answer() -> None:
    """A caller that takes more than that in each window is served to the end."""
    async with connected() as (connection, caller):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(caller, REQUEST)
        await eventually_async(connection.transport.get_write_buffer_size, within=30)
        now, count = loop.time(), 0
        for window in range(5):
            connection.end_if_overdue(now + window * (WINDOW_SECONDS + 1))
            count += await receive(caller, 4 * int(WINDOW_SECONDS * LEAST_BYTES_A_SECOND))
        count += await receive(caller, len(ANSWER) - count)

        assert not connection.transport.is_closing()
        assert count >= len(ANSWER)


@pytest.mark.anyio
async def test_a_refused_body_that_drips_ends() -> None:
    """The rest of a body that the service has answered already may be sent, but not for ever."""
    async with connected() as (connection, caller):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(caller, b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999\r\n\r\n")
        await receive(caller, len(ANSWER))
        await eventually_async(lambda: connection.cycle.response_complete, within=30)
        now = loop.time()

        connection.end_if_overdue(now)
        for _ in range(5):
            await loop.sock_sendall(caller, b"x")
        connection.end_if_overdue(now + WINDOW_SECONDS - 1)
        assert not connection.transport.is_closing()
        connection.end_if_overdue(now + WINDOW_SECONDS + 1)

        assert connection.transport.is_closing()


@pytest.mark.anyio
async def test_an_upload_that_drips_ends() -> None:
    """An upload that sends some bytes now and then keeps its connection only for a window that its time limit sets."""
    async with connected() as (connection, caller):
        loop = asyncio.get_running_loop()
        await loop.sock_sendall(caller, b"PUT / HTTP/1.1\r\nhost: a\r\ncontent-length: 99999999\r\n\r\n")
        await eventually_async(lambda: connection.cycle, within=30)
        now = loop.time()

        connection.end_if_overdue(now)
        before = connection.received_bytes
        await loop.sock_sendall(caller, b"x" * int(BODY_SECONDS * LEAST_BYTES_A_SECOND))
        await eventually_async(lambda: connection.received_bytes > before + BODY_SECONDS * LEAST_BYTES_A_SECOND - 1)
        connection.end_if_overdue(now + BODY_SECONDS + 1)
        assert not connection.transport.is_closing()
        await loop.sock_sendall(caller, b"x")
        connection.end_if_overdue(now + 2 * BODY_SECONDS + 2)

        assert connection.transport.is_closing()


def test_progress_is_measured_in_each_window() -> None:
    """Bytes of an earlier window do not count for the next."""
    least = int(WINDOW_SECONDS * LEAST_BYTES_A_SECOND)
    progress = Progress(0, 0, WINDOW_SECONDS)

    assert not progress.is_stalled(WINDOW_SECONDS - 1, 0)
    assert not progress.is_stalled(WINDOW_SECONDS, 100 * least)
    assert not progress.is_stalled(2 * WINDOW_SECONDS - 1, 100 * least)
    assert progress.is_stalled(2 * WINDOW_SECONDS, 101 * least - 1)
