"""The leases on OCR models: on those that a running recognition may open, and on those that are open.

Most recognitions work without any OCR model. One that needs an OCR model may open any; only the vendor knows which. The
vendor looks for a file again at each recognition, so a file that the vendor has read and closed can be deleted between
two recognitions.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager, suppress
from pathlib import Path

from app.engine.contract.ocr_models import is_ocr_model
from app.engine.contract.recognition_call import RecognitionOptions
from app.engine.model_session import Hold
from app.engine.process.engine_process import EngineProcess
from app.engine.process.process_leases import ProcessLeases
from app.engine.process.process_memory import open_below
from app.errors import StoreError

USE = "recognition"
"""The use that the records of these leases name."""
LOOK_SECONDS = 1.0
"""How often a running recognition is examined for OCR models that it has open."""

Names = Callable[[RecognitionOptions], Collection[str]]
"""A function that returns the names of the OCR models that a recognition with these options may open."""


class OcrModelLeases:
    """Takes and releases the leases on OCR models for the engine process that recognises images."""

    def __init__(self, *, models_dir: Path, names: Names, hold: Hold, look_seconds: float = LOOK_SECONDS) -> None:
        """`names` and `hold` are called in a thread."""
        self._models_dir = models_dir
        self._names = names
        self._hold = hold
        self._look_seconds = look_seconds
        self._process: EngineProcess | None = None
        self._leases = ProcessLeases()
        self._settling = set[asyncio.Task[None]]()

    def is_using(self, model: str) -> bool:
        """Whether the present process has a lease on an OCR model."""
        return model in self._leases

    @asynccontextmanager
    async def during(self, process: EngineProcess, options: RecognitionOptions) -> AsyncIterator[None]:
        """Hold leases on the OCR models that a recognition with these options may open, while the `with` block runs.

        Any other OCR model that the process opens gets a lease within LOOK_SECONDS. The leases on models that the
        process still has open after the block last until the process ends. An OCR model that is being changed, or whose
        lock cannot be taken, gets no lease; the recognition goes on, since it may not need that model. Call this only
        while holding the engine.
        """
        leases = self._leases_of(process)
        holding = asyncio.create_task(
            asyncio.to_thread(self._hold_all, leases, lambda: self._names(options), process.pid)
        )
        is_over = asyncio.Event()
        looking = asyncio.create_task(self._look(leases, process.pid, is_over))
        try:
            await asyncio.shield(holding)
            yield
        finally:
            is_over.set()
            settling = asyncio.create_task(self._settle({holding, looking}, leases, process.pid))
            self._settling.add(settling)
            settling.add_done_callback(self._settling.discard)
            await asyncio.shield(settling)

    def _leases_of(self, process: EngineProcess) -> ProcessLeases:
        if self._process is not process:
            self._process, self._leases = process, ProcessLeases()
            # As for an AI model: a refused deletion succeeds as soon as a release has ended the process.
            process.when_gone(self._leases.end)
        return self._leases

    async def _look(self, leases: ProcessLeases, pid: int, is_over: asyncio.Event) -> None:
        """Take leases on the OCR models that the process has open, again and again until the recognition is over."""
        while not is_over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(is_over.wait(), self._look_seconds)
                return
            await asyncio.to_thread(self._hold_open, leases, pid)

    async def _settle(self, holding: set[asyncio.Task[None]], leases: ProcessLeases, pid: int) -> None:
        """Wait for the tasks that take leases, then release the leases on files that the process has not open."""
        await asyncio.wait(holding)
        await asyncio.to_thread(self._keep_open, leases, pid)

    def _keep_open(self, leases: ProcessLeases, pid: int) -> None:
        leases.release(but=self._hold_open(leases, pid))

    def _hold_open(self, leases: ProcessLeases, pid: int) -> set[str]:
        """Take leases on the OCR models that the process has open, and return their names."""
        opened = {name for name in open_below(pid, self._models_dir) if is_ocr_model(name)}
        self._hold_all(leases, lambda: opened, pid)
        return opened

    def _hold_all(self, leases: ProcessLeases, names: Callable[[], Collection[str]], pid: int) -> None:
        for name in names():
            if name not in leases:
                with suppress(StoreError, OSError):
                    leases.add(name, self._hold(name, USE, pid))
