"""Leases on OCR models, with real engine processes that open files."""

import asyncio
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from app.engine.contract.recognition_call import ImageLimits, RecognitionOptions
from app.engine.ocr_model_leases import OcrModelLeases
from app.engine.recognition import Recognition, recognise
from app.engine.states import EngineState
from app.engine.supervisor import Supervisor
from app.errors import EngineDied, ModelLocked, StoreUnavailable
from tests.support.supervised import supervised
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

OPTIONS = RecognitionOptions("eng", "auto", auto_skew=False, upscale=False, pages=None, save_as=None)
A, B = "aspose-ocr-a-v1.ocr", "aspose-ocr-b-v1.ocr"


class Leasing:
    """An engine with leases on OCR models that count how many are held."""

    def __init__(self, folder: Path, supervisor: Supervisor) -> None:
        self.models = folder / "models"
        self.supervisor = supervisor
        self.held: Counter[str] = Counter()
        self.locked: set[str] = set()
        """The OCR models that are being changed, or cannot be locked."""
        self.problem: Exception = ModelLocked(A)
        """Why they cannot be locked."""
        self.may_open = [A, B]
        """The OCR models that a recognition may open."""
        self.leases = OcrModelLeases(
            models_dir=self.models.resolve(), names=lambda _: self.may_open, hold=self.hold, look_seconds=0.05
        )
        self._image = folder / "image"

    def hold(self, name: str, use: str, pid: int) -> Callable[[], None]:
        assert (use, pid) == ("recognition", self.supervisor.pid)
        if name in self.locked:
            raise self.problem
        self.held[name] += 1
        return lambda: self.held.subtract([name])

    def now(self) -> set[str]:
        """Return the OCR models that are leased now; each has one lease."""
        assert set((+self.held).values()) <= {1}
        return set(+self.held)

    async def recognise(self, what: str) -> Recognition:
        self._image.write_text(what)
        options: Any = {"seconds": 60, "around": lambda process: self.leases.during(process, OPTIONS)}
        return await recognise(self.supervisor, self._image, OPTIONS, ImageLimits(1, 1), **options)


@asynccontextmanager
async def leasing(folder: Path) -> AsyncIterator[Leasing]:
    (folder / "models").mkdir()
    for name in (A, B):
        (folder / "models" / name).write_bytes(b"x" * 10_000)
    async with supervised(folder, "OpensOcrModels") as engine:
        yield Leasing(folder, await engine.until(EngineState.READY, within=60))


async def test_all_are_leased_during_a_recognition_and_the_open_ones_until_the_process_ends(tmp_path: Path) -> None:
    """During a recognition every OCR model is leased; afterwards those that the process has open or mapped are."""
    async with leasing(tmp_path) as engine:
        running = asyncio.create_task(engine.recognise("wait"))
        await eventually_async(lambda: engine.now() == {A, B}, within=60)
        (engine.models / "go.option").touch()
        await running
        assert engine.now() == set()

        await engine.recognise(f"open {A}")
        assert engine.now() == {A}
        assert (engine.leases.is_using(A), engine.leases.is_using(B)) == (True, False)
        await engine.recognise(f"map {B}")
        assert engine.now() == {A, B}
        await engine.recognise("read a fox")
        assert engine.now() == {A, B}

        await engine.supervisor.release()
        assert engine.now() == set()
        assert not engine.leases.is_using(A)


async def test_a_recognition_that_needs_no_ocr_model_leases_only_what_it_opens(tmp_path: Path) -> None:
    """A recognition that may open no OCR model gets a lease if it opens one all the same, while that is open."""
    async with leasing(tmp_path) as engine:
        engine.may_open = []
        running = asyncio.create_task(engine.recognise(f"hold {B}"))
        await eventually_async(lambda: engine.now() == {B}, within=60)
        (engine.models / "go.option").touch()
        await running
        assert engine.now() == set()


async def test_a_process_that_dies_leaves_no_lease(tmp_path: Path) -> None:
    """A process that is killed during a recognition, and one whose caller goes away, lose their leases."""
    async with leasing(tmp_path) as engine:
        await engine.recognise(f"open {A}")
        dying = asyncio.create_task(engine.recognise("wait"))
        await eventually_async(lambda: engine.now() == {A, B}, within=60)
        os.kill(engine.supervisor.pid or 0, signal.SIGKILL)
        with pytest.raises(EngineDied):
            await dying
        assert engine.now() == set()

        await eventually_async(lambda: engine.supervisor.is_ready, within=60)
        abandoned = asyncio.create_task(engine.recognise("wait"))
        await eventually_async(lambda: engine.now() == {A, B}, within=60)
        abandoned.cancel()
        await asyncio.gather(abandoned, return_exceptions=True)
        await eventually_async(lambda: engine.now() == set(), within=60)


@pytest.mark.parametrize("problem", [ModelLocked(A), StoreUnavailable("it is gone"), OSError(5, "Input/output error")])
async def test_an_ocr_model_that_cannot_be_leased_does_not_prevent_a_recognition(
    problem: Exception, tmp_path: Path
) -> None:
    """An OCR model that is being changed, or a folder that fails, gives no lease, and the recognition goes on."""
    async with leasing(tmp_path) as engine:
        engine.locked.add(A)
        engine.problem = problem
        running = asyncio.create_task(engine.recognise("wait"))
        await eventually_async(lambda: engine.now() == {B}, within=60)
        (engine.models / "go.option").touch()
        assert (await running).pages[0]["text"] == "done"


async def test_an_ocr_model_that_arrived_during_the_recognition_is_leased_if_it_is_open(tmp_path: Path) -> None:
    """A file that was not listed when the recognition began is leased afterwards, if the process has it open."""
    new = "aspose-ocr-new-v1.ocr"
    async with leasing(tmp_path) as engine:
        (engine.models / new).write_bytes(b"x")

        await engine.recognise(f"open {new}")

        assert engine.now() == {new}
