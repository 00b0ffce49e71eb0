"""The HTTP server: uvicorn's, with a drain before the shutdown.

The shutdown answers the requests that it interrupts.
"""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from app.api.http.connections.accept_queue import accept_all
from app.api.http.connections.protocol import HttpConnection

TICKS_PER_SECOND = 10
"""How many times a second uvicorn calls `on_tick`."""
LAST_REQUESTS_SECONDS = 0.5
"""How long connections are served after a drain when the service does not listen any more. A request that a proxy has
sent to this service just before arrives in this time."""


@dataclass(frozen=True, slots=True)
class StopTimes:
    """How long each step of a shutdown may take, in seconds."""

    drain_seconds: float
    """How long new connections are accepted after the signal, while the readiness probe already answers 503."""
    request_seconds: float
    """How long running requests may go on after the drain before they are interrupted."""
    answer_seconds: float
    """How long interrupted requests may take to answer and to send the answers."""


class Server(uvicorn.Server):
    """A uvicorn server that ends slow connections, and that stops in steps.

    When the server listens, it calls `on_started`. A signal begins the drain: the server calls `on_draining` with its
    length in seconds, and serves requests as before, but closes each connection after its next answer. So a proxy has
    no idle connection left on which it could send a request when the server closes it. After the drain the server stops
    listening, without resetting a connection that it has not accepted yet, and answers the last requests. Then it calls
    `on_stopping`, which ends streams of events, waits for running requests, and interrupts requests that take too long.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        times: StopTimes,
        *,
        on_started: Callable[[int], None],
        on_draining: Callable[[float], None],
        on_stopping: Callable[[], None],
    ) -> None:
        """`on_started` receives the port on which the server listens."""
        super().__init__(config)
        self._on_started = on_started
        self._times = times
        self._on_draining = on_draining
        self._on_stopping = on_stopping

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, and call `on_started` unless that failed."""
        await super().startup(sockets)
        if self.started:
            self._on_started(self.servers[0].sockets[0].getsockname()[1])

    async def on_tick(self, counter: int) -> bool:
        """Call `end_if_overdue` of each connection once a second. Return whether the server should stop."""
        if counter % TICKS_PER_SECOND == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, HttpConnection):
                    connection.end_if_overdue(now)
        return await super().on_tick(counter)

    async def main_loop(self) -> None:
        """Serve until a signal, then for `drain_seconds` more. A second signal ends the drain early."""
        await super().main_loop()
        if not self._times.drain_seconds:
            return
        self._on_draining(self._times.drain_seconds)
        signals = len(self._captured_signals)
        if not await self._serve_for(self._times.drain_seconds, signals):
            return
        for server in self.servers:
            await accept_all(server.sockets)
            server.close()
        await self._serve_for(LAST_REQUESTS_SECONDS, signals)

    async def _serve_for(self, seconds: float, signals: int) -> bool:
        """Serve for some seconds. Return False at once if more than `signals` signals have been received."""
        for counter in range(round(seconds * TICKS_PER_SECOND)):
            await self.on_tick(counter)
            if len(self._captured_signals) > signals:
                return False
            await asyncio.sleep(1 / TICKS_PER_SECOND)
        return True

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Call `on_stopping`, then wait for the running requests, interrupt requests that take too long, and stop."""
        self._on_stopping()
        interruption = asyncio.create_task(self._interrupt())
        await super().shutdown(sockets)
        interruption.cancel()

    async def _interrupt(self) -> None:
        """Cancel the requests that run longer than `request_seconds`; `RequestLog` answers them 503.

        Then close connections.
        """
        await asyncio.sleep(self._times.request_seconds)
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.sleep(self._times.answer_seconds)
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpConnection):
                connection.evict()
