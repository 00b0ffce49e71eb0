"""Runs the programs that serve and mount file systems, in the foreground, so that they can be stopped by their ids."""

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.waiting import eventually

Program = subprocess.Popen[bytes]

MOUNT_SECONDS = 60.0
STOP_SECONDS = 10.0
BUSY_SECONDS = 5.0
"""How long an unmount waits for processes that have files open there."""


class CannotMount(Exception):
    """A file system cannot be mounted here. The message names the reason."""


def need(*programs: str) -> None:
    """Check for root, FUSE and installed programs; raises CannotMount."""
    if os.geteuid() != 0:
        raise CannotMount("file systems are mounted by root only")
    if not Path("/dev/fuse").exists():
        raise CannotMount("there is no /dev/fuse")
    if missing := [program for program in programs if shutil.which(program) is None]:
        raise CannotMount(f"not installed: {', '.join(missing)}")


def run(*command: object) -> None:
    """Run a command to its end; raises CannotMount with its output if it fails."""
    ran = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise CannotMount(f"{command[0]} ended with status {ran.returncode}: {(ran.stdout + ran.stderr).strip()}")


@contextmanager
def running(folder: Path, name: str, *command: object) -> Iterator[Program]:
    """Run a program until the end of the block. Its output goes to `<name>.out` in the folder."""
    with (folder / f"{name}.out").open("wb") as output:
        process = subprocess.Popen(
            [str(word) for word in command], stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=folder
        )
        try:
            yield process
        finally:
            stop(process)


def stop(process: Program) -> None:
    """End a program, even if it is stopped or ignores SIGTERM."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        if process.poll() is None:
            process.send_signal(number)
            process.send_signal(signal.SIGCONT)
            try:
                process.wait(timeout=STOP_SECONDS)
            except subprocess.TimeoutExpired:
                continue
    process.wait(timeout=STOP_SECONDS)


@contextmanager
def mounted(folder: Path, mount_point: Path, *command: object) -> Iterator[Program]:
    """Run a FUSE client until the end of the block; its mount is removed before the client is stopped."""
    mount_point.mkdir()
    with running(folder, mount_point.name, *command) as client:
        try:
            wait_for(client, lambda: is_mounted(mount_point), folder / f"{mount_point.name}.out")
            yield client
        finally:
            client.send_signal(signal.SIGCONT)
            unmount(mount_point)


def wait_for(process: Program, probe: Callable[[], bool], output: Path) -> None:
    """Wait until `probe` is true; raises CannotMount if the program ends first or takes too long."""
    try:
        eventually(lambda: process.poll() is not None or probe(), within=MOUNT_SECONDS)
    except AssertionError:
        raise CannotMount(f"{process.args!r} took longer than {MOUNT_SECONDS:g} s: {_end_of(output)}") from None
    if process.poll() is not None:
        raise CannotMount(f"{process.args!r} ended with status {process.returncode}: {_end_of(output)}")


def is_mounted(mount_point: Path) -> bool:
    """Return True if something is mounted exactly there. Reads the kernel's table, since a mount may not answer."""
    mounts = Path("/proc/self/mounts").read_text().splitlines()
    return any(line.split(" ")[1] == str(mount_point) for line in mounts)


def unmount(mount_point: Path) -> None:
    """Remove a mount; after BUSY_SECONDS lazily, although files there are open."""
    deadline = time.monotonic() + BUSY_SECONDS
    while is_mounted(mount_point) and time.monotonic() < deadline + BUSY_SECONDS:
        lazily = ["-l"] if time.monotonic() > deadline else []
        if subprocess.run(["umount", *lazily, mount_point], capture_output=True, check=False).returncode:
            time.sleep(0.1)


def listens(host: str, port: int) -> bool:
    """Return True if a program listens on the port."""
    with socket.socket() as asking:
        return asking.connect_ex((host, port)) == 0


def _end_of(output: Path) -> str:
    return output.read_text(errors="replace")[-500:].strip() if output.exists() else "it said nothing"
