"""What a process holds, as the kernel counts it. These block, for milliseconds: call them from a thread."""

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
    """The files below a folder that a process has mapped: their paths relative to it, and the bytes mapped."""
    try:
        maps = psutil.Process(pid).memory_maps(grouped=True)
    except psutil.NoSuchProcess:
        return {}
    root = f"{folder}/"
    return {each.path.removeprefix(root): each.size for each in maps if each.path.startswith(root)}


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
