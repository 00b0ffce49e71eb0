"""Memory and mapped files of a process, as the kernel counts them. These functions block for milliseconds."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Memory:
    """The memory of a process, in bytes."""

    resident_bytes: int
    """The memory in use, including pages shared with other processes."""
    private_bytes: int
    """The part of the memory that the process shares with no other process. The kernel gets this part back when the
    process ends."""


def memory_of(pid: int) -> Memory | None:
    """Return the memory of a process, or None if it has ended."""
    try:
        held = psutil.Process(pid).memory_full_info()
    except psutil.NoSuchProcess:
        return None
    return Memory(held.rss, held.uss)


def resident_bytes_of(pid: int) -> int:
    """Return the memory in use of a process, or 0 if it has ended. Much cheaper than `memory_of`."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def mapped_below(pid: int, folder: Path) -> dict[str, int]:
    """Return how many bytes a process has mapped of each file below a folder, by path relative to the folder.

    A process that has ended has no mapped files. This function reads `/proc/<pid>/maps`. psutil would read `smaps`, for
    which the kernel inspects every page: 20 ms with 500 MB, during which a release would wait.
    """
    found: dict[str, int] = {}
    root = f"{folder}/"
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/maps").read_text(errors="replace").splitlines():
            addresses, _, _, _, _, *path = line.split(maxsplit=5)
            if path and path[0].startswith(root):
                start, end = (int(address, 16) for address in addresses.split("-"))
                name = path[0].removeprefix(root).removesuffix(" (deleted)")
                found[name] = found.get(name, 0) + end - start
    return found


def open_below(pid: int, folder: Path) -> set[str]:
    """Return the files below a folder that a process has open or mapped, by path relative to the folder.

    A process that has ended has no open files. Files that were deleted after they were opened are left out.
    """
    found = set(mapped_below(pid, folder))
    root = f"{folder}/"
    with contextlib.suppress(OSError):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(OSError):  # closed meanwhile
                path = str(descriptor.readlink())
                if path.startswith(root):
                    found.add(path.removeprefix(root))
    return found


def tree_bytes() -> int:
    """Return the memory of this process and its descendants; pages shared among them are counted once (PSS)."""
    me = psutil.Process(os.getpid())
    total = 0
    for process in (me, *me.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total
