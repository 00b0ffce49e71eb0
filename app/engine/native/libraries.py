"""Checks for missing native libraries. The checks run in the engine process, which has its own library path.

docs/engine.md describes what was measured with aspose-ocr-python-net 26.10.0 on Debian 12.
"""

import ctypes
from pathlib import Path

RUNTIMES = Path("Aspose.AI.LLM", "runtimes", "b6451")
"""Where AsposeAI looks for the native llama.cpp libraries, below its working directory."""
ACCELERATIONS = ("noavx", "vulkan", "openblas")
"""The runtime folders that AsposeAI may choose. If libvulkan or OpenBLAS is installed, AsposeAI accepts only the folder
for it."""
LLAMA = RUNTIMES / f"linux-x64-{ACCELERATIONS[0]}" / "native"
"""The provisioned llama.cpp libraries, below AsposeAI's working directory."""
REMEDY = "run `python -m app provision`, then restart the engine with POST /engine/release"


def missing_for_recognition() -> str | None:
    """Return which missing library keeps this process from recognising text; None if none is missing."""
    if error := _load_error("libcrypto.so.1.1", "libssl.so.1.1"):
        return f"OpenSSL 1.1, which AsposeAI's runtime needs, is not installed ({error}): {REMEDY}"
    return None


def missing_for_ai() -> str | None:
    """Return which missing library keeps this process from loading a model; None if none is missing.

    The check loads the libraries and leaves them loaded; AsposeAI then uses the loaded libraries.
    """
    if error := _load_error("libdl.so"):
        return f"AsposeAI's .NET Core 3.1 runtime needs a libdl.so, and none was found ({error})"
    if error := _load_error("libllama.so", "libggml-cpu-x64.so"):
        return f"the native llama.cpp libraries, which AsposeAI's package lacks, are not installed ({error}): {REMEDY}"
    return None


def _load_error(*libraries: str) -> str | None:
    """Load libraries. Return the loader's error, which names the missing library; None if all could be loaded."""
    try:
        for library in libraries:
            ctypes.CDLL(library)
    except OSError as exc:
        return str(exc)
    return None
