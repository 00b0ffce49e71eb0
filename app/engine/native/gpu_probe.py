"""A program that asks a library of llama.cpp for its GPUs, and prints a line of JSON.

    python -I app/engine/native/gpu_probe.py LIBRARY SECONDS

The line has `devices`, what the driver calls each GPU; or `error`, the loader's message if the library cannot be
loaded. The kernel ends the program after SECONDS, also in a native call. The
program imports only the standard library.
"""

import ctypes
import json
import signal
import sys
from pathlib import Path


def devices(library: Path) -> list[str]:
    """Return what the driver calls each GPU. Raises OSError if a library is missing."""
    base = ctypes.CDLL(str(library.with_name("libggml-base.so")), mode=ctypes.RTLD_GLOBAL)
    backend = ctypes.CDLL(str(library))
    backend.ggml_backend_init.restype = ctypes.c_void_p
    base.ggml_backend_reg_dev_count.argtypes = [ctypes.c_void_p]
    base.ggml_backend_reg_dev_count.restype = ctypes.c_size_t
    base.ggml_backend_reg_dev_get.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    base.ggml_backend_reg_dev_get.restype = ctypes.c_void_p
    base.ggml_backend_dev_description.argtypes = [ctypes.c_void_p]
    base.ggml_backend_dev_description.restype = ctypes.c_char_p
    registry = backend.ggml_backend_init()
    if not registry:  # the driver's interface is there, and no driver
        return []
    found = (base.ggml_backend_reg_dev_get(registry, i) for i in range(base.ggml_backend_reg_dev_count(registry)))
    return [base.ggml_backend_dev_description(device).decode(errors="replace") for device in found]


def main(library: str, seconds: str) -> None:
    """Print the answer."""
    signal.alarm(int(seconds))
    try:
        answer: dict[str, object] = {"devices": devices(Path(library))}
    except OSError as exc:
        answer = {"error": str(exc)}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
