"""A Docker daemon in namespaces of its own: a Debian of its own, an own network, and control groups of version 1."""

import subprocess
import uuid
from collections.abc import Sequence
from pathlib import Path

import psutil

from tests.deploy.docker.daemon import CHECKOUT, Ran
from tests.support.deployed.booted import CONTROL_GROUPS, removed
from tests.support.service import ROOT
from tests.support.waiting import eventually

CONTROLLERS = ("blkio", "cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids")
ENVIRONMENT = ("HOME=/root", "LANG=C.UTF-8", "PATH=/usr/sbin:/usr/bin:/sbin:/bin")
START = """
root=$1 data=$2 group=$3 controllers=$4 checkout=$5
for name in $controllers; do
    echo $$ >"/sys/fs/cgroup/$name/$group/cgroup.procs"
done
mount --bind "$root" "$root"
mount --bind "$checkout" "$root/srv"
mount -o remount,bind,ro "$root/srv"
mount --bind "$data" "$root/var/lib/docker"
mount --rbind /dev "$root/dev"
mount -t tmpfs run "$root/run"
mount -t tmpfs -o mode=1777 tmp "$root/tmp"
exec unshare --net --cgroup --pid --uts --ipc --fork --kill-child sh -euc '
root=$1 controllers=$2
mount -t proc proc "$root/proc"
mount -t sysfs sysfs "$root/sys"
mount -t tmpfs -o mode=755 none "$root/sys/fs/cgroup"
for name in $controllers; do
    mkdir "$root/sys/fs/cgroup/$name"
    mount -t cgroup -o "$name" "$name" "$root/sys/fs/cgroup/$name"
done
hostname docker
ip link set lo up
cd "$root"
pivot_root . mnt
umount -l /mnt
exec chroot . env -i HOME=/root PATH=/usr/sbin:/usr/bin:/sbin:/bin docker-init -- dockerd
' sh "$root" "$controllers"
"""
"""Runs in a mount namespace of its own."""


class Namespaces:
    """The namespaces. The daemon starts on entry and is ended on exit, with all that it has started."""

    def __init__(self, root: Path, data: Path, log: Path) -> None:
        """`root` has the Debian, `data` is an empty folder for the daemon, and `log` becomes its log."""
        self._root, self._data, self._log = root, data, log
        group = f"ocr-docker-{uuid.uuid4().hex}"
        self._groups = [CONTROL_GROUPS / name / group for name in CONTROLLERS]
        self._starter: subprocess.Popen[bytes]

    def __enter__(self) -> "Namespaces":
        for group in self._groups:
            group.mkdir()
        cpuset = self._groups[CONTROLLERS.index("cpuset")]
        for name in ("cpuset.cpus", "cpuset.mems"):  # a new group of this controller has none, and takes no process
            (cpuset / name).write_text((cpuset.parent / name).read_text())
        (cpuset / "cgroup.clone_children").write_text("1")
        arguments = [str(self._root), str(self._data), self._groups[0].name, " ".join(CONTROLLERS), str(ROOT)]
        command = ["unshare", "--mount", "sh", "-euc", START, "sh", *arguments]
        with self._log.open("wb") as output:
            self._starter = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        return self

    def __exit__(self, *_: object) -> None:
        # The end of the first process ends all others of its namespace.
        for child in psutil.Process(self._starter.pid).children() if self._starter.poll() is None else []:
            child.kill()
        self._starter.wait(timeout=60)
        eventually(lambda: all(removed(group) for group in self._groups))

    def check_alive(self) -> bool:
        """Return True if the daemon runs; fail with its log if it has ended."""
        assert self._starter.poll() is None, f"Docker has ended:\n{self._log.read_text()[-3000:]}"
        return True

    def run(self, command: Sequence[object]) -> Ran:
        """Run a command to its end, in the folder of the checkout."""
        inside = ["nsenter", f"--target={eventually(self._first_process)}", "--all", "--root"]
        ran = subprocess.run(
            [*inside, "env", "-i", "-C", str(CHECKOUT), *ENVIRONMENT, *map(str, command)],
            cwd="/",
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        return Ran(ran.returncode, ran.stdout.decode(errors="replace"))

    def _first_process(self) -> int:
        """Return the process id of the first process of the namespaces; 0 until it has entered all of them."""
        self.check_alive()
        children = psutil.Process(self._starter.pid).children()
        return next((process.pid for process in children if process.name() == "docker-init"), 0)
