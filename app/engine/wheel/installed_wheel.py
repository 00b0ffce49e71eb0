"""Holds the facts of the installed wheel. For a version that is not known, the wheel is asked in the background.

`app.engine.contract.wheel_facts` explains why. Until the facts of the installed version are known, nothing is judged by
the facts of another version: the audit calls no OCR model superseded, and a recognition's language is judged by the
engine alone.
"""

import asyncio
import os
from pathlib import Path

from app.engine.contract.wheel_facts import (
    NotWheelFacts,
    WheelFacts,
    installed_version,
    kept_facts,
    kept_file,
    known_facts,
)
from app.engine.native.workdir import WorkDirectories
from app.engine.wheel.wheel_probe import ProbeFailed, ask_wheel
from app.events import EventName, OnEvent


class InstalledWheel:
    """The installed wheel, and what is known of it. Never waits for the engine."""

    def __init__(
        self, workdirs: WorkDirectories, state_dir: Path, on_event: OnEvent, version: str | None = None
    ) -> None:
        """Read the facts, if they are known or were kept in `state_dir` by an earlier run. Blocks."""
        self.version = version or installed_version()
        """The version of the vendor's package."""
        self._workdirs = workdirs
        self._kept = kept_file(state_dir, self.version)
        self._on_event = on_event
        self.facts: WheelFacts | None = known_facts(self.version) or kept_facts(state_dir, self.version)
        """What is known of the wheel; None while it is not known."""

    async def run(self) -> None:
        """Ask the wheel, once, if its facts are not known, and keep the answer."""
        if self.facts:
            return
        try:
            facts = await ask_wheel(self._workdirs)
            if facts.version != self.version:
                msg = f"the package was replaced by {facts.version} since the start"
                raise ProbeFailed(msg)
            await asyncio.to_thread(self._keep, facts)
        except (ProbeFailed, NotWheelFacts, OSError) as exc:
            self._on_event(EventName.ENGINE_WHEEL_UNKNOWN, {"version": self.version, "reason": str(exc)})
        else:
            self.facts = facts
            self._on_event(EventName.ENGINE_WHEEL_ASKED, {"version": self.version})

    def _keep(self, facts: WheelFacts) -> None:
        """Write the facts in one step, since another service may use the same state folder."""
        staged = self._kept.with_name(f"{self._kept.name}.{os.getpid()}")
        staged.write_text(facts.to_json())
        staged.replace(self._kept)
