"""Which GPU the provisioned build of llama.cpp finds on this machine.

A driver may crash or hang, so another process asks it: the program `gpu_probe`.
"""

import json
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROBE_SECONDS = 10
"""How long the driver of a GPU may take to answer. With Mesa's drivers the answer takes 0.1 s."""
GIVE_UP_SECONDS = 20
"""How long the program `gpu_probe` may take altogether. It ends by itself after PROBE_SECONDS, if it has begun."""
PROGRAM = Path(__file__).with_name("gpu_probe.py")
GPU_LIBRARIES = {"libggml-cuda.so": "CUDA", "libggml-vulkan.so": "Vulkan"}
"""The libraries of llama.cpp that compute on GPUs, and by which interface."""
NEEDS = {
    "CUDA": "NVIDIA's driver, and the libraries cudart and cublas of the CUDA release that the message names",
    "Vulkan": "the Vulkan loader (Debian's package is libvulkan1) and a Vulkan driver of the GPU",
}


@dataclass(frozen=True, slots=True)
class GpuBuild:
    """A build of llama.cpp for GPUs."""

    name: str
    """`CUDA` or `Vulkan`."""
    library: Path
    """The library that computes on the GPU. llama.cpp's other libraries are in the same folder."""


@dataclass(frozen=True, slots=True)
class FoundGpus:
    """The GPUs that a build of llama.cpp can use, and the reason if there are none."""

    devices: tuple[str, ...]
    """What the driver calls each GPU, such as `NVIDIA GeForce RTX 3060`."""
    reason: str | None = None


def build_in(folder: Path) -> GpuBuild | None:
    """Return the build for GPUs in a folder of llama.cpp's libraries; None for a build for the CPU or none."""
    for library, name in GPU_LIBRARIES.items():
        if (folder / library).exists():
            return GpuBuild(name, folder / library)
    return None


def find_gpus(build: GpuBuild) -> FoundGpus:
    """Ask a build for its GPUs. Blocks for as long as the driver takes, `PROBE_SECONDS` at most."""
    import subprocess  # noqa: PLC0415 - most engine processes have no build for GPUs, and would only wait for the import

    # By its path, because it needs nothing of the service, and the search path need not have the service.
    program = (sys.executable, "-I", PROGRAM, build.library, str(PROBE_SECONDS))
    try:
        # The program ends by itself, also if this process dies; the timeout is for a program that does not even begin.
        done = subprocess.run(  # noqa: S603 - no shell, and no argument comes from outside
            program, stdin=subprocess.DEVNULL, capture_output=True, check=False, timeout=GIVE_UP_SECONDS
        )
    except subprocess.TimeoutExpired:
        return _none(build, "its driver hangs")
    if done.returncode == -signal.SIGALRM:
        return _none(build, f"its driver did not answer within {PROBE_SECONDS} s")
    if done.returncode < 0:
        return _none(build, f"its driver crashed with {signal.Signals(-done.returncode).name}")
    answer = _answer(done.stdout)
    if error := answer.get("error"):
        return _none(build, str(error))
    if devices := answer.get("devices"):
        return FoundGpus(tuple(map(str, devices)))
    last = done.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return _none(build, last or "no driver offers a GPU")


def _answer(output: bytes) -> dict[str, Any]:
    """Return the program's answer, the last line of its output: a driver may print lines before it."""
    try:
        answer = json.loads(output.strip().rpartition(b"\n")[2])
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


def _none(build: GpuBuild, why: str) -> FoundGpus:
    return FoundGpus(
        (),
        f"no GPU ({why.rstrip('.')}), so models run on the CPU: install {NEEDS[build.name]}, then restart the engine "
        "with POST /engine/release; or run `python -m app provision --runtime cpu`",
    )
