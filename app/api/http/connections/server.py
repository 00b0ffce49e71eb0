"""The server: uvicorn's, with a drain before the shutdown, and an end of the requests that the shutdown interrupts."""

import asyncio
import socket
from collections.abc import Callable
from dataclasses import dataclass

import uvicorn

from app.api.http.connections.protocol import HttpConnection

TICKS_PER_SECOND = 10
"""How often uvicorn calls `on_tick`."""


@dataclass(frozen=True, slots=True)
class StopTimes:
    """How long each step of a shutdown may take, in seconds."""

    drain_seconds: float
    """How long connections are still taken after the signal, while the readiness probe already says no."""
    request_seconds: float
    """How long running requests may go on after that, before they are interrupted."""
    answer_seconds: float
    """How long interrupted requests may take to answer, and their connections to send the answers."""


class Server(uvicorn.Server):
    """A uvicorn server that ends slow connections, and that stops in steps.

    A signal begins the drain: `on_draining` is called, and requests are served as before. Then `on_stopping` is called,
    to end the streams that a shutdown waits for, and the server waits for running requests and interrupts the rest.
    """

    def __init__(
        self,
        config: uvicorn.Config,
        times: StopTimes,
        *,
        on_draining: Callable[[float], None],
        on_stopping: Callable[[], None],
    ) -> None:
        super().__init__(config)
        self._times = times
        self._on_draining = on_draining
        self._on_stopping = on_stopping

    async def on_tick(self, counter: int) -> bool:
        """End the connections that are overdue, once a second. Return whether the server should stop."""
        if counter % TICKS_PER_SECOND == 0:
            now = asyncio.get_running_loop().time()
            for connection in list(self.server_state.connections):
                if isinstance(connection, HttpConnection):
                    connection.end_if_overdue(now)
        return await super().on_tick(counter)

    async def main_loop(self) -> None:
        """Serve until a signal, and then for the time of the drain. A second signal ends the drain."""
        await super().main_loop()
        if not self._times.drain_seconds:
            return
        self._on_draining(self._times.drain_seconds)
        signals = len(self._captured_signals)
        for counter in range(round(self._times.drain_seconds * TICKS_PER_SECOND)):
            await self.on_tick(counter)
            if len(self._captured_signals) > signals:
                return
            await asyncio.sleep(1 / TICKS_PER_SECOND)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Call `on_stopping`, then wait for the running requests, interrupt those that take too long, and stop."""
        self._on_stopping()
        interruption = asyncio.create_task(self._interrupt())
        await super().shutdown(sockets)
        interruption.cancel()

    async def _interrupt(self) -> None:
        """Cancel the requests that still run after their time; `RequestLog` answers them 503. Then cut connections."""
        await asyncio.sleep(self._times.request_seconds)
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.sleep(self._times.answer_seconds)
        for connection in list(self.server_state.connections):
            if isinstance(connection, HttpConnection):
                connection.evict()
