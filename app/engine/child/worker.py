"""The main module of the engine process: serves one call at a time until the service closes the socket.

    python -P -m app.engine.child.worker SOCKET_FD PARENT_PID ENGINE MEMORY_LIMIT_BYTES

ENGINE is the import string of a class, such as `app.engine.child.aspose_ai:AsposeAIEngine`. The worker creates one
object of the class before it reads the first call; the object's public methods are the calls. There are no heartbeats
and no threads, because a native call blocks the whole process and holds the GIL.
"""

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

from app.engine.contract.messages import MAX_LINE_BYTES, Call, Reply

PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main(socket_fd: int, parent_pid: int, engine: str, memory_limit_bytes: int) -> None:
    """Serve calls until the service closes the socket."""
    _die_with(parent_pid)
    _lower_priority()
    _limit_memory(memory_limit_bytes)
    # An aborted .NET runtime would write hundreds of megabytes into the working directory.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    # Ctrl-C on a terminal reaches the whole process group; the service decides when the engine ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with socket.socket(fileno=socket_fd) as channel:
        _serve(channel, _load(engine))


def _die_with(parent_pid: int) -> None:
    """Let the kernel kill this process when the service ends, even while a native call holds the GIL."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent_pid:  # the service ended before prctl() took effect
        sys.exit("the service ended while its engine process was starting")


def _lower_priority() -> None:
    """Run at the lowest priority: llama.cpp uses every core, which would delay the service's answers."""
    os.nice(19)
    if sys.platform == "linux":
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def _limit_memory(limit_bytes: int) -> None:
    """Limit this process's writable memory to `limit_bytes`; 0 for no limit.

    If memory runs out, the kernel kills this process and not the service.
    """
    if limit_bytes:
        _, hard = resource.getrlimit(resource.RLIMIT_DATA)
        most = limit_bytes if hard == resource.RLIM_INFINITY else min(limit_bytes, hard)
        # Not RLIMIT_AS: it counts mapped models, and the 2.7 GB of addresses that .NET reserves before its first call.
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    with contextlib.suppress(OSError):  # not Linux, or no /proc
        Path("/proc/self/oom_score_adj").write_text("1000")


def _load(engine: str) -> object:
    module, _, name = engine.partition(":")
    return getattr(importlib.import_module(module), name)()


def _serve(channel: socket.socket, engine: object) -> None:
    with channel.makefile("rb") as lines:
        while line := lines.readline(MAX_LINE_BYTES):
            call = Call.decode(line)
            channel.sendall(_answer(engine, call))


def _answer(engine: object, call: Call) -> bytes:
    try:
        return Reply(call.id, result=_method(engine, call.name)(**call.params)).encode()
    except Exception as exc:  # noqa: BLE001 - each error of the vendor becomes an answer; the log has the traceback
        traceback.print_exc()
        return Reply(call.id, error=f"{type(exc).__name__}: {exc}").encode()


def _method(engine: object, name: str) -> Any:  # noqa: ANN401 - resolved by name
    if name.startswith("_"):
        msg = f"{name!r} is not a call of the engine"
        raise AttributeError(msg)
    return getattr(engine, name)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
