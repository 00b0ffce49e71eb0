"""What makes of a live process a ready one: its license, its instance, its first facts, the check of its folder."""

from datetime import UTC, datetime
from pathlib import Path

from app.engine.contract.messages import EngineFacts, ProtocolError
from app.engine.process import EngineProcess
from app.engine.states import SupervisorLimits
from app.errors import EngineCallFailed, EngineError
from app.events import EventName, OnEvent


class Handshake:
    """Greets each new process of one supervisor, and remembers what became of the license."""

    def __init__(
        self,
        models_dir: Path,
        license_file: Path | None,
        limits: SupervisorLimits,
        on_event: OnEvent,
    ) -> None:
        self.license_error: str | None = None
        self._models_dir = models_dir
        self._license_file = license_file
        self._limits = limits
        self._on_event = on_event

    async def greet(self, process: EngineProcess) -> EngineFacts | None:
        """Its facts, when it may be called ready; None when it was killed because it may not.

        Raises EngineDied and EngineTimedOut.
        """
        try:
            await self._apply_license(process)
            await process.call("start", seconds=self._limits.start_seconds)
            facts = await self.ask_for_facts(process)
        except EngineCallFailed as exc:
            process.kill(exc.reason)
            return None
        except ProtocolError as exc:
            process.kill(str(exc))
            return None
        if Path(facts.local_path) != self._models_dir.resolve():
            process.kill(f"AsposeAI looks for its models in {facts.local_path}, not in {self._models_dir}")
            return None
        return facts

    async def ask_for_facts(self, process: EngineProcess) -> EngineFacts:
        """What AsposeAI says of itself now. Raises EngineCallFailed, EngineDied, EngineTimedOut and ProtocolError."""
        asked_at = datetime.now(UTC)
        return EngineFacts.from_status(asked_at, await process.call("status", seconds=self._limits.status_seconds))

    async def _apply_license(self, process: EngineProcess) -> None:
        if self._license_file is None or self.license_error:
            return
        try:
            await process.call("apply_license", {"path": str(self._license_file)}, seconds=self._limits.start_seconds)
        except EngineError as exc:
            # Unlicensed is better than dead, and the next process is not to die of it again.
            self.license_error = exc.reason if isinstance(exc, EngineCallFailed) else str(exc)
            self._on_event(EventName.ENGINE_LICENSE_REFUSED, {"error": self.license_error})
            if not isinstance(exc, EngineCallFailed):
                raise
