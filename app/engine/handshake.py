"""The handshake with a new engine process: apply the license, start AsposeAI, get its facts, check its model folder."""

from datetime import UTC, datetime
from pathlib import Path

from app.engine.contract.messages import EngineFacts, ProtocolError
from app.engine.process.engine_process import EngineProcess
from app.engine.states import SupervisorLimits
from app.errors import EngineCallFailed, EngineError
from app.events import EventName, OnEvent


class Handshake:
    """Makes each new process of one supervisor ready for calls, and remembers why the license file was not applied."""

    def __init__(
        self,
        models_dir: Path,
        license_file: Path | None,
        limits: SupervisorLimits,
        on_event: OnEvent,
    ) -> None:
        self.license_error: str | None = None
        """Why the license file could not be applied, or None. After an error, later processes start without the
        license."""
        self._models_dir = models_dir
        self._license_file = license_file
        self._limits = limits
        self._on_event = on_event

    async def run(self, process: EngineProcess) -> EngineFacts | None:
        """Make a new process ready and return AsposeAI's facts; if the process cannot be used, kill it and return None.

        Raises EngineDied and EngineTimedOut.
        """
        try:
            await self._apply_license(process)
            await process.call("start", seconds=self._limits.start_seconds)
            facts = await self.fetch_facts(process)
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

    async def fetch_facts(self, process: EngineProcess) -> EngineFacts:
        """Ask AsposeAI, by a `status` call, for its present facts.

        Raises EngineCallFailed, EngineDied, EngineTimedOut and ProtocolError.
        """
        asked_at = datetime.now(UTC)
        return EngineFacts.from_status(asked_at, await process.call("status", seconds=self._limits.status_seconds))

    async def _apply_license(self, process: EngineProcess) -> None:
        if self._license_file is None or self.license_error:
            return
        try:
            await process.call("apply_license", {"path": str(self._license_file)}, seconds=self._limits.start_seconds)
        except EngineError as exc:
            # An unlicensed engine is better than none, and the license must not end the next process too.
            self.license_error = exc.reason if isinstance(exc, EngineCallFailed) else str(exc)
            self._on_event(EventName.ENGINE_LICENSE_REFUSED, {"error": self.license_error})
            if not isinstance(exc, EngineCallFailed):
                raise
