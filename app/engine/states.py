"""The engine's states, its limits, and the facts that are kept of what it went through."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from app.engine.process import Exit
from app.engine.process_memory import Memory


class EngineState(StrEnum):
    """stopped -> starting -> ready -> stopping; backing_off after a death, failed when the budget is spent."""

    STOPPED = "stopped"
    STARTING = "starting"
    READY = "ready"
    STOPPING = "stopping"
    BACKING_OFF = "backing_off"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class SupervisorLimits:
    """How long the engine may take, and how often it may die. Seconds."""

    start_seconds: float = 30.0
    stop_seconds: float = 8.0
    """From the request to end a process to its end in every case, SIGKILL included."""
    status_seconds: float = 30.0
    queue_size: int = 7
    """Calls that may wait while one runs."""
    restart_budget: int = 5
    """Deaths in a row, each before `stable_seconds` of readiness, after which the engine is failed for a while."""
    stable_seconds: float = 30.0
    first_delay_seconds: float = 0.05
    max_delay_seconds: float = 10.0
    failed_seconds: float = 60.0
    """How long a failed engine stays so before it is tried once more."""

    def delay_seconds(self, deaths: int) -> float:
        """How long to wait after that many deaths in a row: doubled for each, and long when they are too many."""
        if deaths > self.restart_budget:
            return self.failed_seconds
        return min(self.max_delay_seconds, self.first_delay_seconds * 2.0 ** (deaths - 1))


@dataclass(frozen=True, slots=True)
class LastExit:
    """The end of one process, and when."""

    at: datetime
    exit: Exit


@dataclass(frozen=True, slots=True)
class Release:
    """What a release gave back."""

    pid: int | None
    """The process that ended; None when there was none."""
    before: Memory | None
    mapped_bytes: int
    """What it had mapped of models."""
    after_bytes: int
    """What the service holds without it."""
    exit_reason: str | None
    seconds: float
    """From the request to the moment the kernel had reaped the process."""

    @property
    def returned_bytes(self) -> int:
        """What the kernel has back: the memory that the process shared with nobody."""
        return self.before.private_bytes if self.before else 0
