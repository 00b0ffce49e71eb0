"""Connections that the kernel has established and the service has not accepted yet."""

import asyncio
import socket
from contextlib import ExitStack

import pytest

from app.api.http.connections.accept_queue import accept_all, waiting_at

CALLERS = 5


def connected_to(server: socket.socket, stack: ExitStack) -> None:
    """Connect CALLERS sockets, which nobody accepts."""
    for _ in range(CALLERS):
        stack.enter_context(socket.create_connection(server.getsockname(), timeout=60))


def test_the_kernel_tells_how_many_connections_wait() -> None:
    """Each connection that is not accepted counts, and an accepted one does not."""
    with socket.create_server(("127.0.0.1", 0)) as server, ExitStack() as stack:
        assert waiting_at(server.fileno()) == 0
        connected_to(server, stack)
        assert waiting_at(server.fileno()) == CALLERS
        stack.enter_context(server.accept()[0])
        assert waiting_at(server.fileno()) == CALLERS - 1


@pytest.mark.anyio
async def test_all_waiting_connections_are_accepted() -> None:
    """The event loop accepts every connection that waits before the server may be closed."""
    made: list[asyncio.Protocol] = []

    class Noted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            made.append(self)
            transport.close()

    server = await asyncio.get_running_loop().create_server(Noted, "127.0.0.1", 0)
    with ExitStack() as stack:
        connected_to(server.sockets[0], stack)  # the loop does not run meanwhile
        assert not made

        await accept_all(server.sockets)
        server.close()
        await asyncio.sleep(0)

        assert len(made) == CALLERS
