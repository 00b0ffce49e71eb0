"""The builds of llama.cpp for GPUs: which GPUs they find, and what is said if there is none.

`TEST_GPU_NATIVE` may name a native folder with a build for a GPU that this machine has, to test with it. Mesa's driver
that computes on the CPU (`VK_ICD_FILENAMES`, `GGML_VK_VISIBLE_DEVICES=0`) is such a GPU for the build for Vulkan.
"""

import os
from pathlib import Path

import pytest

from app.engine.contract.processors import DEFAULT_MODEL
from app.engine.native import gpus
from app.engine.native.gpus import GpuBuild, build_in, find_gpus
from app.engine.native.workdir import WorkDirectories
from tests.conftest import Serve
from tests.support.files import tiny_gguf
from tests.support.service import RunningService
from tests.support.skips import ELSEWHERE
from tests.support.supervised import NATIVE

needs_native = pytest.mark.skipif(
    not NATIVE.is_dir(), reason="`python -m app provision` could not bring the native libraries"
)


def folder_with(folder: Path, library: str, content: bytes | None) -> Path:
    """Make a folder with a library of llama.cpp for GPUs. Without content, opening the library blocks for ever."""
    folder.mkdir(parents=True)
    (folder / "libggml-base.so").symlink_to(NATIVE / "llama" / "libggml-base.so")
    if content is None:
        os.mkfifo(folder / library)
    else:
        (folder / library).write_bytes(content)
    return folder


def reason_of(folder: Path) -> str:
    build = build_in(folder)
    assert build is not None
    found = find_gpus(build)
    assert found.devices == ()
    assert found.reason is not None
    return found.reason


def test_the_build_for_the_cpu_is_no_build_for_gpus(tmp_path: Path) -> None:
    """A folder without a library for GPUs, or no folder, is not asked for GPUs."""
    (tmp_path / "libllama.so").touch()

    assert build_in(tmp_path) is None
    assert build_in(tmp_path / "none") is None


@pytest.mark.parametrize(
    ("library", "name", "needs"),
    [("libggml-vulkan.so", "Vulkan", "libvulkan1"), ("libggml-cuda.so", "CUDA", "NVIDIA's driver")],
)
@needs_native
def test_a_library_that_cannot_be_loaded_is_a_reason(tmp_path: Path, library: str, name: str, needs: str) -> None:
    """The reason has the loader's message, what the build needs, and how to go back to the CPU."""
    folder = folder_with(tmp_path / "llama", library, b"not a library")

    reason = reason_of(folder)

    assert build_in(folder) == GpuBuild(name, folder / library)
    assert f"{library}: file too short" in reason or "invalid ELF header" in reason
    assert needs in reason
    assert "`python -m app provision --runtime cpu`" in reason


@needs_native
def test_a_driver_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library whose loading hangs in the kernel, as a driver may, is given up after PROBE_SECONDS."""
    monkeypatch.setattr(gpus, "PROBE_SECONDS", 1)

    assert "did not answer within 1 s" in reason_of(folder_with(tmp_path / "llama", "libggml-vulkan.so", None))


@needs_native
def test_a_driver_that_crashes_is_a_reason(tmp_path: Path) -> None:
    """A library that ends the process with a signal, as a driver may, ends only the process that asks it."""
    whole = (NATIVE / "llama" / "libggml-base.so").read_bytes()
    folder = folder_with(tmp_path / "llama", "libggml-vulkan.so", whole[:8192])  # mapped beyond its end: SIGBUS

    assert "crashed with SIGBUS" in reason_of(folder)


@needs_native
def test_an_engine_without_a_gpu_says_so_and_computes_on_the_cpu(serve: Serve, tmp_path: Path) -> None:
    """With a build for GPUs and no GPU, the engine is ready, shows build and reason, and a model runs on the CPU."""
    native = tmp_path / "native"
    native.mkdir()
    (native / "openssl").symlink_to(NATIVE / "openssl")
    folder = folder_with(native / "llama", "libggml-vulkan.so", b"not a library")
    for library in (NATIVE / "llama").glob("*.so"):
        if not (folder / library.name).exists():
            (folder / library.name).symlink_to(library)
    service = serve(native_dir=native, engine_gpu_layers=20).wait_until_ready()
    tiny_gguf.write(service.models_dir / DEFAULT_MODEL)

    assert service.engine()["runtime"] == {"build": "vulkan", "gpus": []}
    checks = {check["name"]: check for check in service.client.get("/readyz?verbose").json()["checks"]}
    assert not checks["gpu"]["ok"]
    assert "libggml-vulkan.so" in checks["gpu"]["reason"]
    assert checks["ai"]["ok"]
    answer = service.client.post("/ai/spell-check", json={"texts": ["text"]})
    assert answer.json()["results"][0]["text"] == tiny_gguf.ANSWER
    assert "OCR_ENGINE_GPU_LAYERS has no effect: no GPU" in service.log


def test_the_engine_gets_the_environment_of_a_gpu_only_with_a_build_for_gpus(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that choose a GPU, and the folders of its driver, reach the engine process only if it may use one."""
    chosen = {"CUDA_VISIBLE_DEVICES": "1", "GGML_VK_VISIBLE_DEVICES": "0", "VK_ICD_FILENAMES": "/icd.json"}
    for name, value in (chosen | {"CUDAX": "x", "LD_LIBRARY_PATH": ":/driver"}).items():
        monkeypatch.setenv(name, value)
    (tmp_path / "models").mkdir()
    llama = tmp_path / "native" / "llama"
    llama.mkdir(parents=True)
    workdirs = WorkDirectories(tmp_path / "state", tmp_path / "models", tmp_path / "native")
    try:
        without = workdirs.environment(tmp_path)
        (llama / "libggml-cuda.so").touch()
        with_gpu = workdirs.environment(tmp_path)
    finally:
        workdirs.close()

    assert not {*chosen, "CUDAX"} & set(without)
    assert "/driver" not in without["LD_LIBRARY_PATH"]
    assert {name: with_gpu.get(name) for name in chosen} == chosen
    assert "CUDAX" not in with_gpu
    assert with_gpu["LD_LIBRARY_PATH"] == without["LD_LIBRARY_PATH"] + ":/driver"


@pytest.mark.skipif("TEST_GPU_NATIVE" not in os.environ, reason=f"{ELSEWHERE}TEST_GPU_NATIVE names no build for a GPU")
def test_a_model_runs_with_a_gpu(serve: Serve) -> None:
    """With a GPU, `GET /engine` names it, the check passes, and the library for the GPU is loaded with the model."""
    service: RunningService = serve(native_dir=os.environ["TEST_GPU_NATIVE"], engine_gpu_layers=99).wait_until_ready()
    tiny_gguf.write(service.models_dir / DEFAULT_MODEL)

    answer = service.client.post("/ai/spell-check", json={"texts": ["text"]})

    assert answer.json()["results"][0]["text"] == tiny_gguf.ANSWER
    engine = service.engine()
    assert engine["runtime"]["gpus"]
    assert {each["name"]: each["available"] for each in engine["capabilities"]}["gpu"]
    mapped = Path(f"/proc/{engine['pid']}/maps").read_text()
    assert "libggml-vulkan.so" in mapped or "libggml-cuda.so" in mapped
