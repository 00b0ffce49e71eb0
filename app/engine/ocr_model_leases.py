"""The leases on OCR models: on all models during a recognition, and afterwards on the models that stay open.

A recognition may open any OCR model; only the vendor knows which. The vendor looks for a file again at each
recognition, so a file that the vendor has read and closed can be deleted between two recognitions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.engine.contract.ocr_models import is_ocr_model
from app.engine.model_session import Hold
from app.engine.process.engine_process import EngineProcess
from app.engine.process.process_leases import ProcessLeases
from app.engine.process.process_memory import open_below
from app.errors import StoreError

USE = "recognition"
"""The use that the records of these leases name."""


class OcrModelLeases:
    """Takes and releases the leases on OCR models for the engine process that recognises images."""

    def __init__(self, *, models_dir: Path, names: Callable[[], Collection[str]], hold: Hold) -> None:
        """`names` returns the names of the OCR models that recognition finds.

        `names` and `hold` are called in a thread.
        """
        self._models_dir = models_dir
        self._names = names
        self._hold = hold
        self._process: EngineProcess | None = None
        self._leases = ProcessLeases()
        self._settling = set[asyncio.Task[None]]()

    def is_using(self, model: str) -> bool:
        """Whether the present process has a lease on an OCR model."""
        return model in self._leases

    @asynccontextmanager
    async def during(self, process: EngineProcess) -> AsyncIterator[None]:
        """Hold leases on all OCR models while the `with` block runs.

        The leases on models that the process still has open after the block last until the process ends. An OCR model
        that is being changed, or whose lock cannot be taken, gets no lease; the recognition goes on, since it may not
        need that model. Call this only while holding the engine.
        """
        leases = self._leases_of(process)
        holding = asyncio.create_task(asyncio.to_thread(self._hold_all, leases, self._names, process.pid))
        try:
            await asyncio.shield(holding)
            yield
        finally:
            settling = asyncio.create_task(self._settle(holding, leases, process.pid))
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)
            await asyncio.shield(settling)

    def _leases_of(self, process: EngineProcess) -> ProcessLeases:
        if self._process is not process:
            self._process, self._leases = process, ProcessLeases()
            # As for an AI model: a refused deletion succeeds as soon as a release has ended the process.
            process.when_gone(self._leases.end)
        return self._leases

    async def _settle(self, holding: asyncio.Task[None], leases: ProcessLeases, pid: int) -> None:
        """Wait for the thread that takes the leases, then release the leases on files that the process has not open."""
        await asyncio.wait({holding})
        await asyncio.to_thread(self._keep_open, leases, pid)

    def _keep_open(self, leases: ProcessLeases, pid: int) -> None:
        opened = {name for name in open_below(pid, self._models_dir) if is_ocr_model(name)}
        self._hold_all(leases, lambda: opened, pid)  # one may have arrived during the recognition
        leases.release(but=opened)

    def _hold_all(self, leases: ProcessLeases, names: Callable[[], Collection[str]], pid: int) -> None:
        for name in names():
            if name not in leases:
                with suppress(StoreError, OSError):
                    leases.add(name, self._hold(name, USE, pid))
