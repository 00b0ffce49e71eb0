"""How an engine process ended, and why."""

import signal
from dataclasses import dataclass
from enum import StrEnum


class ExitCause(StrEnum):
    """Why a process ended: by its own fault, for lack of memory, or because the service ended the process."""

    FAULT = "fault"
    MEMORY = "memory"
    ORDERED = "ordered"


@dataclass(frozen=True, slots=True)
class Exit:
    """How an engine process ended."""

    pid: int
    code: int
    """The exit status; if a signal ended the process, minus the signal's number."""
    end_reason: str | None
    """Why the service ended the process; None if the service did not end it."""
    is_fault: bool
    """True if the engine is at fault. If the service ended the process for a release, a deadline or a disconnected
    caller, the engine is not at fault."""
    is_out_of_memory: bool
    """True if the process ended because it needed more memory than its limit or the machine allows."""
    tail: tuple[str, ...]
    """The last lines that the process printed."""

    @property
    def cause(self) -> ExitCause:
        """Why the process ended."""
        if self.is_out_of_memory:
            return ExitCause.MEMORY
        return ExitCause.FAULT if self.is_fault else ExitCause.ORDERED

    @property
    def reason(self) -> str:
        """How the process ended, in one line for people, with the service's reason if the service ended it."""
        how = f"exit status {self.code}" if self.code >= 0 else f"killed by {_name_of(-self.code)}"
        why = self.end_reason or ("it could get no more memory" if self.is_out_of_memory else None)
        return f"{why} ({how})" if why else how


def _name_of(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:  # most real-time signals have no name
        return f"signal {number}"
