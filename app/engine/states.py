"""The engine's states, the supervisor's limits, and the records of an exit and of a release."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.engine.process import Exit
from app.engine.process_memory import Memory

MAX_DEATHS_OF_ONE_REQUEST = 3
"""After the items of one request or job have ended this many engine processes, the other items are not tried."""


class EngineState(StrEnum):
    """stopped -> starting -> ready -> stopping -> stopped; backing_off after a death, failed after too many."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKING_OFF = "backing_off"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """How long the engine may take, in seconds, and how often its process may die."""

    start_seconds: float = 30.0
    """From the start of a process to its readiness."""
    stop_seconds: float = 8.0
    """From the request to end a process to its end, by SIGKILL if need be."""
    status_seconds: float = 30.0
    """How long one `status` call may take."""
    queue_size: int = 7
    """How many calls may wait while one runs."""
    restart_budget: int = 5
    """How many deaths in a row, each before `stable_seconds` of readiness, are allowed before the engine is failed."""
    stable_seconds: float = 30.0
    """How long a process must be ready for the deaths before it not to count."""
    first_delay_seconds: float = 0.05
    """The pause before a restart after the first death; doubled for each further one."""
    max_delay_seconds: float = 10.0
    """The longest such pause."""
    failed_seconds: float = 60.0
    """How long the engine stays failed before it is started again."""

    def delay_seconds(self, deaths: int) -> float:
        """Return the pause before a restart after that many deaths in a row."""
        if deaths > self.restart_budget:
            return self.failed_seconds
        return min(self.max_delay_seconds, self.first_delay_seconds * 2.0 ** (deaths - 1))


@dataclass(frozen=True, slots=True)
class LastExit:
    """How the last process ended, and when."""

    at: datetime
    exit: Exit


@dataclass(frozen=True, slots=True)
class Release:
    """What a release of the engine gave back."""

    pid: int | None
    """The process that ended; None if there was none."""
    before: Memory | None
    """What that process held; None if there was none."""
    mapped_bytes: int
    """How many bytes of models it had mapped."""
    after_bytes: int
    """What the service and its children hold without it."""
    exit_reason: str | None
    """How it ended."""
    seconds: float
    """From the request to the moment the kernel had reaped the process."""

    @property
    def returned_bytes(self) -> int:
        """The memory that the kernel got back: what the process shared with no other."""
        return self.before.private_bytes if self.before else 0
