"""What a process holds, as the kernel counts it. These block, for milliseconds: call them from a thread."""

import contextlib
import os
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True, slots=True)
class Memory:
    """What a process holds, in bytes."""

    resident_bytes: int
    private_bytes: int
    """The part no other process shares: what the kernel has back when this process ends."""


def memory_of(pid: int) -> Memory | None:
    """What a process holds now, or None when it is gone."""
    try:
        held = psutil.Process(pid).memory_full_info()
    except psutil.NoSuchProcess:
        return None
    return Memory(held.rss, held.uss)


def resident_bytes_of(pid: int) -> int:
    """Its memory in use, what it shares included; 0 when it is gone. Much cheaper than the rest."""
    try:
        return int(psutil.Process(pid).memory_info().rss)
    except psutil.NoSuchProcess:
        return 0


def mapped_below(pid: int, folder: Path) -> dict[str, int]:
    """The files below a folder that a process has mapped: their paths relative to it, and the bytes mapped.

    `maps` and not psutil's `smaps`, for which the kernel looks at every page: 20 ms with 500 MB, and a release waits.
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


def tree_bytes() -> int:
    """What this process and all its children hold, pages shared among them counted once (PSS)."""
    me = psutil.Process(os.getpid())
    total = 0
    for process in (me, *me.children(recursive=True)):
        try:
            total += process.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total
