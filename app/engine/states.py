"""The engine's states, the supervisor's limits, and the records of an exit and of a release."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.engine.process.exits import Exit
from app.engine.process.process_memory import Memory

MAX_DEATHS_OF_ONE_UNIT = 2
"""After how many deaths of engine processes, in one service, a file or text of a job is not tried again."""
MAX_DEATHS_OF_ONE_REQUEST = 3
"""How many engine processes one request or job may crash; after that, its remaining items fail without being tried."""


class EngineState(StrEnum):
    """The state of the engine: stopped -> starting -> ready -> stopping -> stopped.

    A death is an end of the process by its own fault. After a death the state is backing_off; after too many deaths in
    a row it is failed.
    """

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKING_OFF = "backing_off"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """The supervisor's limits: times in seconds, the length of the queue, the number of deaths, a process's memory."""

    start_seconds: float = 30.0
    """The longest time from the start of a process until the process is ready."""
    stop_seconds: float = 8.0
    """The longest time from the request to end a process until it has ended, by SIGKILL if necessary."""
    status_seconds: float = 10.0
    """How long one call of `status`, which asks for AsposeAI's facts, may take."""
    queue_size: int = 7
    """How many calls may wait in the queue while another call runs."""
    restart_budget: int = 5
    """How many deaths in a row are followed by a restart. After one more death, the state is `failed`."""
    stable_seconds: float = 30.0
    """After a process was ready for this many seconds, earlier deaths no longer count."""
    first_delay_seconds: float = 0.05
    """The pause before a restart after the first death; each further death doubles the pause."""
    max_delay_seconds: float = 10.0
    """The longest pause before a restart."""
    failed_seconds: float = 60.0
    """How long the engine stays in the state failed before the supervisor starts it again."""

    memory_bytes: int = 0
    """How many bytes of memory a process may hold; 0 for no limit."""

    def delay_seconds(self, deaths: int) -> float:
        """Return the pause in seconds before a restart after `deaths` deaths in a row."""
        if deaths > self.restart_budget:
            return self.failed_seconds
        return min(self.max_delay_seconds, self.first_delay_seconds * 2.0 ** (deaths - 1))


@dataclass(frozen=True, slots=True)
class LastExit:
    """How and when the last engine process ended."""

    at: datetime
    exit: Exit


@dataclass(frozen=True, slots=True)
class Release:
    """The result of a release: which process ended, and the memory before and after its end."""

    pid: int | None
    """The id of the process that ended; None if there was no process."""
    before: Memory | None
    """The memory that the process held before its end; None if there was no process."""
    mapped_bytes: int
    """How many bytes of model files the process had mapped."""
    after_bytes: int
    """The memory of the service and its child processes after the end of the process."""
    exit_reason: str | None
    """How the process ended; None if there was no process."""
    seconds: float
    """The time from the request until the kernel had reaped the process."""

    @property
    def returned_bytes(self) -> int:
        """The memory that the kernel got back: the part that the process shared with no other process."""
        return self.before.private_bytes if self.before else 0
