"""Holds the facts of the installed wheel. If its version is not known, the wheel is asked for them in the background.

`app.engine.contract.wheel_facts` describes the facts. Until the facts of the installed version are known, no facts of
another version are used: the audit calls no OCR model superseded, and only the engine decides whether a recognition's
language is valid.
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
    """The installed wheel and, as soon as they are known, its facts. Never waits for the engine."""

    def __init__(
        self, workdirs: WorkDirectories, state_dir: Path, on_event: OnEvent, version: str | None = None
    ) -> None:
        """Read the facts, if they are part of this service or an earlier run has stored them in `state_dir`. Blocks."""
        self.version = version or installed_version()
        """The version of the vendor's package."""
        self._workdirs = workdirs
        self._kept = kept_file(state_dir, self.version)
        self._on_event = on_event
        self.facts: WheelFacts | None = known_facts(self.version) or kept_facts(state_dir, self.version)
        """The facts of the wheel; None while they are not known."""

    async def run(self) -> None:
        """If the facts of the wheel are not known, ask the wheel once, and store the answer in the state folder."""
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
        """Store the facts in the state folder, in one step, since another service may use the same folder."""
        staged = self._kept.with_name(f"{self._kept.name}.{os.getpid()}")
        staged.write_text(facts.to_json())
        staged.replace(self._kept)
