"""The real AsposeAI in its real process: the facts in docs/engine.md."""

import os
import signal
import tempfile
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from app.engine.states import EngineState
from app.errors import EngineCallFailed
from tests.support.supervised import NATIVE, QUICK, supervised
from tests.support.waiting import eventually_async

pytestmark = pytest.mark.anyio

ASPOSE = "app.engine.child.aspose_ai:AsposeAIEngine"
RECOGNISED = "lmstudio-community_Llama-3.2-3B-Instruct-GGUF/Llama-3.2-3B-Instruct-Q4_K_M.gguf"
"""The only model that AsposeAI uses without a licence."""


async def test_it_reports_itself(tmp_path: Path) -> None:
    """The facts have AsposeAI's package, the store's folder, the missing licence and the capabilities."""
    async with supervised(tmp_path, ASPOSE) as engine:
        facts = (await engine.until(EngineState.READY, within=20)).facts

    assert facts is not None
    assert facts.vendor_package == "aspose-ocr-python-net"
    assert facts.local_path == str((tmp_path / "models").resolve())
    assert not facts.is_licensed
    assert not facts.is_initialized
    capabilities = {capability.name: capability for capability in facts.capabilities}
    assert set(capabilities) == {"models", "ai", "recognition"}
    assert capabilities["models"].available
    assert all(c.available or c.reason for c in facts.capabilities)


@pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring the native libraries")
async def test_with_the_native_libraries_everything_works(tmp_path: Path) -> None:
    """With the native libraries every capability is available, and the process has mapped the libraries."""
    async with supervised(tmp_path, ASPOSE) as engine:
        supervisor = await engine.until(EngineState.READY, within=20)
        pid = supervisor.pid
        assert pid is not None
        assert supervisor.facts is not None
        assert all(c.available for c in supervisor.facts.capabilities)
        mapped = {Path(region.path).name for region in psutil.Process(pid).memory_maps()}

    assert {"libssl.so.1.1", "libcrypto.so.1.1", "libllama.b6431.so", "libggml-base.so"} <= mapped


async def test_without_them_it_says_what_is_missing_and_what_brings_it(tmp_path: Path) -> None:
    """Without the native libraries the engine is ready; `ai` and `recognition` name what is missing and the command."""
    async with supervised(tmp_path, ASPOSE, native_dir=tmp_path / "absent") as engine:
        facts = (await engine.until(EngineState.READY, within=20)).facts

    assert facts is not None
    reasons = {c.name: c.reason for c in facts.capabilities if not c.available}
    assert set(reasons) == {"ai", "recognition"}
    assert "libllama.so" in (reasons["ai"] or "")
    assert "libcrypto.so.1.1" in (reasons["recognition"] or "")
    assert all("`python -m app provision`" in (reason or "") for reason in reasons.values())


async def test_it_lists_only_the_model_that_it_would_use(tmp_path: Path) -> None:
    """`list_local()` lists only AsposeAI's default model, no other file of the folder."""
    models = tmp_path / "models"
    (models / RECOGNISED).parent.mkdir(parents=True)
    (models / RECOGNISED).touch()
    (models / "en_ocr_v1.bin").touch()
    (models / "other.gguf").touch()
    async with supervised(tmp_path, ASPOSE) as engine:
        facts = (await engine.until(EngineState.READY, within=20)).facts

    assert facts is not None
    assert facts.list_local == (f"Aspose.AI.LLM/models/{RECOGNISED}",)
    assert facts.recognised == {RECOGNISED}


async def test_kill_9_brings_it_back(tmp_path: Path) -> None:
    """After SIGKILL another AsposeAI becomes ready."""
    async with supervised(tmp_path, ASPOSE) as engine:
        supervisor = await engine.until(EngineState.READY, within=20)
        pid = supervisor.pid
        assert pid is not None

        os.kill(pid, signal.SIGKILL)

        await engine.until_replaced(pid, within=20)


async def test_release_gives_its_memory_back(tmp_path: Path) -> None:
    """A release ends the process with status 0 and reports the memory that it held."""
    # A busy machine may take long to free them, and is not to kill the process for that.
    async with supervised(tmp_path, ASPOSE, limits=replace(QUICK, stop_seconds=60)) as engine:
        supervisor = await engine.until(EngineState.READY, within=20)
        pid = supervisor.pid

        release = await supervisor.release()

        assert release.exit_reason == "released (exit status 0)"
        assert release.before is not None
        assert release.before.private_bytes > 10_000_000
        assert pid is not None
        assert not psutil.pid_exists(pid)
        await engine.until_replaced(pid)


async def test_after_free_resources_it_still_answers(tmp_path: Path) -> None:
    """After `free_resources()` AsposeAI still answers `status`; the vendor's tutorials say that any use raises."""
    async with supervised(tmp_path, ASPOSE) as engine:
        supervisor = await engine.until(EngineState.READY, within=20)
        await supervisor.call("free_resources", seconds=60)
        await supervisor.call("free_resources", seconds=60)

        supervisor.refresh_facts()

        asked_at = supervisor.facts.asked_at if supervisor.facts else None
        await eventually_async(lambda: supervisor.facts is not None and supervisor.facts.asked_at != asked_at)
        assert supervisor.state is EngineState.READY


async def test_a_wrong_license_is_an_error_and_not_a_death(tmp_path: Path) -> None:
    """A wrong license file gives a `license_error` and no restart, with or without OpenSSL 1.1."""
    license_file = tmp_path / "wrong.lic"
    license_file.write_text("no license")
    async with supervised(tmp_path, ASPOSE, license_file=license_file) as engine:
        supervisor = await engine.until(EngineState.READY, within=20)

        assert supervisor.license_error is not None
        assert "OpenSSL 1.1" in supervisor.license_error or "license" in supervisor.license_error
        assert supervisor.facts is not None
        assert not supervisor.facts.is_licensed
        assert supervisor.restarts == 0


async def test_an_unknown_call_is_refused_and_harms_nothing(tmp_path: Path) -> None:
    """An unknown call raises EngineCallFailed, and the engine stays ready."""
    async with supervised(tmp_path, ASPOSE) as engine:
        supervisor = await engine.until(EngineState.READY, within=20)

        with pytest.raises(EngineCallFailed, match="no attribute"):
            await supervisor.call("format_disk", seconds=60)
        assert supervisor.state is EngineState.READY


async def test_it_leaves_nothing_in_the_temporary_folder(tmp_path: Path) -> None:
    """The engine leaves no .NET debugger pipes or lock files in the temporary folder."""
    before = set(os.listdir(tempfile.gettempdir()))
    async with supervised(tmp_path, ASPOSE, limits=QUICK) as engine:
        await engine.until(EngineState.READY, within=20)

    left = set(os.listdir(tempfile.gettempdir())) - before
    assert not [name for name in left if "clr" in name.lower() or "dotnet" in name.lower()]


async def test_an_engine_that_started_without_the_model_folder_finds_ocr_models_later(tmp_path: Path) -> None:
    """The engine is ready although the model folder is missing, and lists the OCR models when the folder is back."""
    models = tmp_path / "models"
    async with supervised(tmp_path, ASPOSE) as engine:
        supervisor = await engine.until(EngineState.READY, within=60)
        pid = supervisor.pid
        assert pid is not None
        models.rmdir()
        os.kill(pid, signal.SIGKILL)
        await engine.until_replaced(pid, within=60)
        assert supervisor.facts is not None
        assert supervisor.facts.resources_list_local == ()

        models.mkdir()
        (models / "aspose-ocr-cyrillic-v1.ocr").touch()
        status = await supervisor.call("status", seconds=60)

    assert status["resources_list_local"] == ["aspose-ocr-cyrillic-v1"]
    assert status["recognised"] == ["aspose-ocr-cyrillic-v1.ocr"]


async def test_what_the_vendor_lists_as_ocr_models(tmp_path: Path) -> None:
    """The vendor believes the suffix: it lists unknown names and empty files, but no file of a subfolder."""
    models = tmp_path / "models"
    (models / "sub").mkdir(parents=True)
    for name in ("unknown.ocr", "CAPITALS.OCR", ".hidden.ocr", "other.ocr.bak", "sub/deeper.ocr"):
        (models / name).touch()
    async with supervised(tmp_path, ASPOSE) as engine:
        facts = (await engine.until(EngineState.READY, within=60)).facts

    assert facts is not None
    assert facts.resources_list_local == (".hidden", "CAPITALS", "unknown")


async def test_a_folder_full_of_ocr_models_does_not_exceed_a_message(tmp_path: Path) -> None:
    """The engine reports 1,000 names at most, so that its answer stays shorter than a message may be."""
    models = tmp_path / "models"
    models.mkdir()
    for number in range(1500):
        (models / f"{number:0200}.ocr").touch()
    async with supervised(tmp_path, ASPOSE) as engine:
        facts = (await engine.until(EngineState.READY, within=60)).facts

    assert facts is not None
    assert len(facts.resources_list_local) == 1000
