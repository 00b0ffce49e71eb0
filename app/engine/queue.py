"""The queue in front of the engine: one caller uses the engine, a limited number wait, and turns are short.

A *place* admits a request or job to the queue; a *turn* is the right to use the engine for one text or image. A caller
keeps one place until its last turn. Between two turns the caller goes to the end of the queue, so a caller with many
texts delays other callers by one text. Turns alternate between API keys.

Places are shared between API keys. One key may take all places while no other key wants one, but a key with fewer
places than its share gets a place even if all are taken. So no key can keep another key out.
"""

import asyncio
from collections import Counter, deque
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Self

from app import tracing
from app.engine.turn_times import TurnTimes
from app.errors import EngineBusy

CALLER: ContextVar[str] = ContextVar("CALLER", default="")
"""The name of the API key of the request that takes a place in the queue. All callers without a key count as one
key."""
JOB: ContextVar[str | None] = ContextVar("JOB", default=None)
"""The id of the job that takes turns. The runner of a job sets it; None for a turn of a request."""
UNIT_PATIENCE_SECONDS = 20.0
"""How long, in seconds, a unit of a job lets requests go first. After that it has its turn like a request."""
IsDeferred = Callable[[], bool]
"""A function that returns True if a waiting caller should let other callers go first. It is called whenever the engine
becomes free."""
OTHER_WORK = "other"
"""The kind of work of a turn that names none."""


@dataclass(frozen=True, slots=True)
class TurnWork:
    """What a turn is for."""

    kind: str
    """The kind of work, such as `recognise` or the name of a processor."""
    job_id: str | None = None


@dataclass(frozen=True, slots=True)
class RunningTurn:
    """The turn that uses the engine now."""

    work: TurnWork
    since: datetime
    began: float
    """When the turn began, on the loop's clock."""


@dataclass(eq=False, slots=True)
class Waiter:
    """One caller's present wait for the engine."""

    turn: asyncio.Future[None]
    caller: str
    is_deferred: IsDeferred
    since: float
    """When the wait began, on the loop's clock."""
    work: TurnWork | None
    """What the turn is for; None for the supervisor's own."""


Line = deque[Waiter]


class CallQueue:
    """The callers of one engine: one caller uses the engine, and `size` more have places in the queue.

    An API key's share is the number of places divided by the number of keys that have or want a place, and at least
    one. A key with fewer places than its share gets a further place even if all are taken.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._places = Counter[str]()
        """By the name of the API key, how many places the key's callers have."""
        self._is_held = False
        """Whether a caller or the supervisor uses the engine."""
        self._callers = Line()
        self._supervisor = Line()
        """The supervisor's waits for the engine, which come before the waits of all callers."""
        self.running: RunningTurn | None = None
        """The turn of the caller that uses the engine; None if no caller uses it."""
        self._times = TurnTimes()
        self._turns = 0
        self._last_turns: dict[str, int] = {}
        """By the name of the API key, the number of the key's last turn."""

    @property
    def is_busy(self) -> bool:
        """True if a caller uses the engine or waits for it."""
        return self._is_held or bool(self._callers)

    @property
    def waiting(self) -> int:
        """How many callers wait for a turn."""
        return len(self._callers)

    @property
    def longest_wait_seconds(self) -> float:
        """How long the caller that has waited longest has waited for its turn, in seconds; 0 if none waits."""
        now = asyncio.get_running_loop().time()
        return max((now - waiter.since for waiter in self._callers), default=0.0)

    @property
    def waiting_by_work(self) -> dict[str, int]:
        """How many callers wait for a turn, by the kind of work."""
        return dict(Counter(waiter.work.kind for waiter in self._callers if waiter.work))

    @property
    def free_in_seconds(self) -> float | None:
        """In how many seconds the running turn is expected to end; 0 if none runs, None if no turn has ended yet.

        A turn that takes longer than expected is expected to end at once.
        """
        if self.running is None:
            return 0.0
        expected = self._times.expected(self.running.work.kind)
        if expected is None:
            return None
        return max(0.0, expected - (asyncio.get_running_loop().time() - self.running.began))

    @property
    def expected_seconds(self) -> float | None:
        """In how many seconds a turn at the end of the queue is expected to begin; None if no turn has ended yet.

        A caller that has a place for several turns counts with the turn for which it waits now.
        """
        running = self.free_in_seconds
        waiting = self._times.total(waiter.work.kind for waiter in self._callers if waiter.work)
        return None if running is None or waiting is None else running + waiting

    @property
    def mean_turn_seconds(self) -> float | None:
        """How long recent turns took, in seconds, whatever their kind of work; None if no turn has ended yet."""
        return self._times.expected("")

    def require_queue_space(self) -> None:
        """Raise EngineBusy if all places are taken and the present caller's key has its share of them."""
        caller, taken = CALLER.get(), self._places.total()
        share = max(1, (self._size + 1) // len(self._places.keys() | {caller}))
        if taken > self._size and self._places[caller] >= share:
            raise EngineBusy(taken - 1, expected_seconds=self.expected_seconds, free_in_seconds=self.free_in_seconds)

    def reserve(self) -> "Place":
        """Reserve a place in the queue, with which a caller may take turns.

        Raises EngineBusy as `require_queue_space` does.
        """
        self.require_queue_space()
        place = Place(self)
        self._places[place.caller] += 1
        return place

    def place_for_unit(self) -> "Place":
        """Return a place for a unit of a job, which was admitted when the job was created.

        The place is not counted, and its caller lets requests go first for UNIT_PATIENCE_SECONDS.
        """
        return Place(self, is_for_unit=True)

    def give_up_place(self, caller: str) -> None:
        """Free one place of an API key's callers. Only `Place.leave` calls this."""
        self._places[caller] -= 1
        if not self._places[caller]:
            del self._places[caller]

    @asynccontextmanager
    async def acquire_first(self) -> AsyncIterator[None]:
        """Wait for the engine ahead of all callers, then hold it exclusively. For the supervisor only."""
        await self._wait(self._supervisor, self._enter(self._supervisor, "", lambda: False, None))
        try:
            yield
        finally:
            self.release()

    async def acquire(self, caller: str, is_deferred: IsDeferred, work: TurnWork, *, is_held: bool) -> None:
        """Go to the end of the queue and wait for the engine.

        `is_held` says that this caller holds the engine: then the caller releases the engine after it has entered the
        queue.
        """
        # Enter the queue before releasing the engine, so that this caller is among those of whom the next one is
        # chosen.
        waiter = self._enter(self._callers, caller, is_deferred, work)
        if is_held:
            self.release()
        await self._wait(self._callers, waiter)

    def release(self) -> None:
        """Release the engine, which the caller holds, and give it to the next caller."""
        self._is_held = False
        if self.running:
            self._times.note(self.running.work.kind, asyncio.get_running_loop().time() - self.running.began)
            self.running = None
        self._hand_over()

    def _enter(self, line: Line, caller: str, is_deferred: IsDeferred, work: TurnWork | None) -> Waiter:
        loop = asyncio.get_running_loop()
        waiter = Waiter(loop.create_future(), caller, is_deferred, loop.time(), work)
        line.append(waiter)
        self._hand_over()
        return waiter

    async def _wait(self, line: Line, waiter: Waiter) -> None:
        try:
            await waiter.turn
        except asyncio.CancelledError:
            if waiter in line:
                line.remove(waiter)
            else:  # the turn was given at the moment of the cancellation
                self.release()
            raise

    def _hand_over(self) -> None:
        """If the engine is free, give the engine to the supervisor if the supervisor waits, else to a waiting caller.

        The order of callers: first those whose API key had its last turn longest ago, and among the callers of one key
        the caller that has waited longest. So a key with many jobs has no more turns than a key with one job. Deferred
        callers come after all others.
        """
        for line in (self._supervisor, self._callers):
            # A cancelled waiter is about to leave the line.
            waiting = [] if self._is_held else [waiter for waiter in line if not waiter.turn.done()]
            if waiting:
                candidates = [waiter for waiter in waiting if not waiter.is_deferred()] or waiting
                chosen = min(candidates, key=lambda waiter: self._last_turns.get(waiter.caller, 0))
                line.remove(chosen)
                if line is self._callers:
                    self._turns += 1
                    self._last_turns[chosen.caller] = self._turns
                self._is_held = True
                if chosen.work:
                    self.running = RunningTurn(chosen.work, datetime.now(UTC), asyncio.get_running_loop().time())
                chosen.turn.set_result(None)


class Place:
    """A caller's place in the queue: its admission. As a context manager, the place is given up on exit."""

    def __init__(self, queue: CallQueue, *, is_for_unit: bool = False) -> None:
        """Only `CallQueue` creates places."""
        self.caller = CALLER.get()
        """The name of the API key that has the place."""
        self._queue = queue
        self._is_for_unit = is_for_unit
        self._is_left = is_for_unit  # it is not counted

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.leave()

    def leave(self) -> None:
        """Free the place for another caller. A second call does nothing."""
        if not self._is_left:
            self._is_left = True
            self._queue.give_up_place(self.caller)

    @asynccontextmanager
    async def turn(self, is_deferred: IsDeferred = lambda: False, kind: str = OTHER_WORK) -> AsyncIterator["Turn"]:
        """Wait for the engine, then hold the engine exclusively in the `with` block.

        `kind` is the kind of work: turns with the same kind of work take about equally long.
        """
        is_later = _letting_requests_first(is_deferred) if self._is_for_unit else is_deferred
        turn = Turn(self._queue, self.caller, is_later, TurnWork(kind, JOB.get()))
        try:
            await turn.wait()
            yield turn
        finally:
            turn.end()


def _letting_requests_first(is_deferred: IsDeferred) -> IsDeferred:
    clock = asyncio.get_running_loop().time
    until = clock() + UNIT_PATIENCE_SECONDS
    return lambda: is_deferred() or clock() < until


class Turn:
    """One caller's right to use the engine exclusively."""

    def __init__(self, queue: CallQueue, caller: str, is_deferred: IsDeferred, work: TurnWork) -> None:
        self._queue = queue
        self._caller = caller
        self._is_deferred = is_deferred
        self._work = work
        self._is_held = False

    async def wait(self) -> None:
        """Go to the end of the queue and wait for the engine. A caller that holds the engine releases it first."""
        was_held, self._is_held = self._is_held, False
        with tracing.span("engine queue", {"ocr.queue.waiting": self._queue.waiting}):
            await self._queue.acquire(self._caller, self._is_deferred, self._work, is_held=was_held)
        self._is_held = True

    def end(self) -> None:
        """If this caller holds the engine, give it to the next caller."""
        if self._is_held:
            self._is_held = False
            self._queue.release()
