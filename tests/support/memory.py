"""How much memory Python keeps after some work, in the test's own process."""

import gc
import tracemalloc
from collections.abc import Callable


def kept_bytes(work: Callable[[], object]) -> int:
    """Do the work, and return how many bytes are allocated after it that were not before."""
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
