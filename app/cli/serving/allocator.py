"""Keeps glibc's memory allocator small: one arena for all threads, and free memory goes back to the system.

glibc gives threads arenas of their own, up to eight for each processor, so that threads need not wait for each other to
allocate. What a thread frees stays in its arena. The service's work moves between threads, so each arena keeps as much
as its largest work needed, and the process grows for hours although Python holds no more: 46 MB of arenas and 22 MB in
use after six minutes of uploads, deletions and pulls, and 28 MB in one arena. Python's interpreter lock lets one thread
allocate at a time anyway.

In one arena, too, small objects that live long end up between large ones that do not, and glibc by itself gives back
only what is free at the arena's end.
"""

import ctypes
import threading
import time
from collections.abc import Mapping

M_ARENA_MAX = -8
"""The number of this option in glibc's malloc.h."""
TRIM_SECONDS = 60.0
"""How often free memory is given back. That takes less than a millisecond on a quiet machine."""


def use_one_arena(environment: Mapping[str, str]) -> None:
    """Limit this process's allocator to one arena. Call this before the first thread starts.

    Does nothing if the operator has limited the arenas by MALLOC_ARENA_MAX or GLIBC_TUNABLES, or if the C library is
    not glibc.
    """
    if "MALLOC_ARENA_MAX" in environment or "glibc.malloc.arena_max" in environment.get("GLIBC_TUNABLES", ""):
        return
    if mallopt := getattr(ctypes.CDLL(None), "mallopt", None):
        mallopt(M_ARENA_MAX, 1)


def keep_trimmed(seconds: float = TRIM_SECONDS) -> None:
    """Start a thread that gives free memory back to the system, again and again. Does nothing without glibc."""
    if trim := getattr(ctypes.CDLL(None), "malloc_trim", None):
        threading.Thread(target=_trim, args=(trim, seconds), name="trim", daemon=True).start()


def _trim(trim: "ctypes._NamedFuncPointer", seconds: float) -> None:
    while True:
        time.sleep(seconds)
        trim(0)
