"""The memory limit of an engine process, and how many processes the kernel has killed for lack of memory.

The default of the limit depends on the container's memory limit or, if there is none, on the machine's memory. The
functions read a few small files of the kernel.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import psutil

MIB = 1 << 20
PROC = Path("/proc")
RESERVE_BYTES = 256 * MIB
"""The least part of a container's memory limit, in bytes, that is left to the service and the kernel."""
RESERVE_SHARE = 8
"""If a container's memory limit is large, 1/RESERVE_SHARE of the limit is left to the service and the kernel."""
MACHINE_SHARE = 2
"""Without a container's limit, the engine may hold 1/MACHINE_SHARE of the machine's memory."""
DATA_HEADROOM_BYTES = 256 * MIB
DATA_SHARE = 8
"""A process may reserve more memory than it may hold: this many bytes more, plus 1/DATA_SHARE of what it may hold. .NET
and the allocators reserve memory before they use it. Measured: 813 MiB reserved with 682 held, and 2,311 with 2,010."""
STACK_BYTES = 16 * MIB
"""How many bytes the kernel counts for the threads of one core: two stacks of 8 MiB, however little of a stack is
used."""
LIMIT_FILES = {"cgroup2": "memory.max", "cgroup": "memory.limit_in_bytes"}
KILL_FILES = {"cgroup2": "memory.events", "cgroup": "memory.oom_control"}
"""By version of cgroups, the file with the memory limit, and the file with the number of kills for lack of memory."""


def default_limit_bytes(proc: Path = PROC) -> int:
    """Return how many bytes an engine process may hold if OCR_ENGINE_MEMORY_LIMIT is not set."""
    machine_bytes = psutil.virtual_memory().total
    limit_bytes = container_limit_bytes(proc)
    if limit_bytes is None or limit_bytes >= machine_bytes:
        return machine_bytes // MACHINE_SHARE
    return share_of_container(limit_bytes)


def share_of_container(limit_bytes: int) -> int:
    """Return how many bytes an engine process may hold in a container with a memory limit."""
    reserve_bytes = max(RESERVE_BYTES, limit_bytes // RESERVE_SHARE)
    return max(limit_bytes - reserve_bytes, limit_bytes // 2)


def hard_limit_bytes(limit_bytes: int) -> int:
    """Return the `RLIMIT_DATA` for a process that may hold `limit_bytes`; 0 for no limit.

    The kernel counts writable private memory as soon as it is reserved. It does not count files mapped for reading,
    such as models. So RLIMIT_DATA is higher than `limit_bytes`. It stops growth that is too fast for the periodic
    check.
    """
    if not limit_bytes:
        return 0
    return limit_bytes + limit_bytes // DATA_SHARE + DATA_HEADROOM_BYTES + STACK_BYTES * (os.cpu_count() or 1)


def container_limit_bytes(proc: Path = PROC) -> int | None:
    """Return the lowest memory limit in bytes of this process's control groups (version 1 or 2), or None."""
    found = []
    for version, folder in _memory_groups(proc):
        with contextlib.suppress(OSError, ValueError):  # a group without a limit has no file, or says `max`
            found.append(int((folder / LIMIT_FILES[version]).read_text()))
    return min(found, default=None)


def oom_kills(proc: Path = PROC) -> int:
    """Return how many processes the kernel has killed for lack of memory so far.

    If a later call returns a higher number, the kernel has killed another process meanwhile. The number counts kills in
    this process's control groups, or on the machine if no control group counts kills.
    """
    files = [folder / KILL_FILES[version] for version, folder in _memory_groups(proc)]
    counts = [count for file in files if (count := _oom_kill_of(file)) is not None]
    return sum(counts) if counts else _oom_kill_of(proc / "vmstat") or 0


def _oom_kill_of(file: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError):
        for line in file.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return None


def _memory_groups(proc: Path) -> Iterator[tuple[str, Path]]:
    """Yield the version and the folder of each control group of this process that can limit memory, innermost first."""
    try:
        mounts = (proc / "self/mountinfo").read_text().splitlines()
        groups = [line.split(":", 2) for line in (proc / "self/cgroup").read_text().splitlines()]
    except OSError:  # not Linux, or no /proc
        return
    for line in mounts:
        fields, _, more = line.partition(" - ")
        version, *_, options = more.split()
        for _, controllers, path in groups:
            if (version == "cgroup2" and not controllers) or (
                version == "cgroup" and "memory" in controllers.split(",") and "memory" in options.split(",")
            ):
                root, mount = fields.split()[3:5]
                yield from ((version, folder) for folder in _folders(Path(mount), root, path))


def _folders(mount: Path, root: str, path: str) -> Iterator[Path]:
    """Yield the folder of the control group `path`, then the folders above it. `root` is the group mounted at `mount`.

    In a container, `path` may be the path outside the container. Then the mount itself is the container's group.
    """
    try:
        inner = PurePosixPath(path).relative_to(root)
    except ValueError:
        inner = PurePosixPath()
    if ".." in inner.parts:
        inner = PurePosixPath()
    for folder in (inner, *inner.parents):
        yield mount / folder
