"""Runs an image's files as a container runtime does, in new namespaces and with a memory limit, without a runtime."""

import contextlib
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import psutil

CGROUPS = Path("/sys/fs/cgroup")

# The setup of a container runtime, in a new mount and process namespace, which undo all of it when they end. /dev/shm
# exists as with Docker; /tmp is read-only like the rest. The container sees its own control group, as with a runtime.
ENTER = """
root=$1 volume=$2 uid=$3 gid=$4 group=$5 groups=$6; shift 6
[ -z "$group" ] || echo 0 >"$group/cgroup.procs"
mount --bind "$root" "$root"
mount --bind "$volume" "$root/data"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
case "$groups" in
1) mount -t tmpfs -o mode=755,size=64k cgroups "$root/sys/fs/cgroup"
   mkdir "$root/sys/fs/cgroup/memory"
   mount --bind "$group" "$root/sys/fs/cgroup/memory"
   mount -o remount,bind,ro "$root/sys/fs/cgroup/memory" ;;
2) mount --bind "$group" "$root/sys/fs/cgroup"
   mount -o remount,bind,ro "$root/sys/fs/cgroup" ;;
esac
mount -t tmpfs -o mode=755,size=64k dev "$root/dev"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777,size=64m shm "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
for name in null zero full random urandom; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mount -o remount,bind,ro "$root/dev"
mount -o remount,bind,ro "$root"
# A change of the user clears the death signal of `unshare --kill-child`, so setpriv sets it again.
exec chroot "$root" setpriv --reuid="$uid" --regid="$gid" --clear-groups --inh-caps=-all --bounding-set=-all \
    --no-new-privs --pdeathsig=KILL "$@"
"""


@dataclass(frozen=True, slots=True)
class MemoryGroup:
    """A control group that limits memory."""

    folder: Path
    version: int
    """The version of control groups, 1 or 2."""

    @property
    def peak_bytes(self) -> int | None:
        """The most memory that the group has held, with the cache of files; None if the kernel does not say it."""
        name = "memory.max_usage_in_bytes" if self.version == 1 else "memory.peak"
        with contextlib.suppress(OSError):
            return int((self.folder / name).read_text())
        return None


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[MemoryGroup | None]:
    """Make a control group that limits memory to `limit_bytes`, and remove it at the end.

    Yields None if this machine does not let this process make one.
    """
    group = _make_group(limit_bytes)
    try:
        yield group
    finally:
        if group:
            _remove(group.folder)


def _make_group(limit_bytes: int) -> MemoryGroup | None:
    is_first = (CGROUPS / "memory").is_dir()
    version, parent, name = (1, CGROUPS / "memory", "memory.limit_in_bytes") if is_first else (2, CGROUPS, "memory.max")
    folder = parent / f"ocr-check-{os.getpid()}-{limit_bytes}"
    try:
        folder.mkdir()
    except OSError:
        return None
    try:
        (folder / name).write_text(str(limit_bytes))
    except OSError:  # version 2 has no such file where the group above does not delegate memory
        _remove(folder)
        return None
    return MemoryGroup(folder, version)


def _remove(folder: Path) -> None:
    """Remove a control group. The kernel may count a killed process for a moment more."""
    deadline = time.monotonic() + 60
    while folder.exists() and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            folder.rmdir()
        time.sleep(0.05)


@contextmanager
def started(
    root: Path,
    config: dict[str, Any],
    volume: Path,
    log: IO[bytes],
    *,
    user: int,
    group: MemoryGroup | None = None,
    **environment: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the image's command as process 1, as a user without a name and without any capability.

    Its group is 0, as with `docker run --user NUMBER`.
    `volume` is the folder of the machine that becomes /data. All processes are killed at the end of the block.
    """
    variables = [*config["Env"], "HOME=/", *(f"{name}={value}" for name, value in environment.items())]
    command = ["env", "-i", "-C", config["WorkingDir"], *variables, *config["Cmd"]]
    # If this script is killed, the container ends too.
    isolate = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    limits = [str(group.folder), str(group.version)] if group else ["", ""]
    container = subprocess.Popen(
        [*isolate, "sh", "-euc", ENTER, "sh", str(root), str(volume), str(user), "0", *limits, *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield container
    finally:
        # Kill process 1, which ends all processes of the namespace. unshare then reaps it.
        inside = psutil.Process(container.pid).children() if container.poll() is None else []
        (inside[0] if inside else container).kill()
        container.wait()


def run_inside(service: psutil.Process, config: dict[str, Any], user: int, *command: str, **environment: str) -> str:
    """Run a program in the namespaces of a running container, as `docker exec` does, and return its output."""
    enter = ("nsenter", f"--target={service.pid}", "--mount", "--pid", "--root", f"--setuid={user}", "--setgid=0")
    variables = [*config["Env"], *(f"{name}={value}" for name, value in environment.items())]
    done = subprocess.run(
        [*enter, "env", "-i", "-C", config["WorkingDir"], *variables, *command],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def mount_options(pid: int, mount_point: str) -> str:
    """Return the options of a mount, as another process sees it."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return next(fields[5] for fields in map(str.split, lines) if fields[4] == mount_point)


def capabilities(pid: int) -> set[str]:
    """Return the sets of capabilities of a process, as hexadecimal numbers: only zeros if it has none."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return {line.split()[1] for line in lines if line.startswith("Cap")}
