"""A machine that systemd has booted: this machine's files under an overlay, with systemd as the first process.

So units run with all that systemd enforces, and commands of the docs can be run as root without a change to this
machine. Only what the unit under test needs is started: nothing that sets kernel variables or mounts disks. The network
is this machine's. Needs root.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import sysconfig
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from tests.support.service import ROOT
from tests.support.waiting import eventually

CONTROL_GROUPS = Path("/sys/fs/cgroup")
HIERARCHIES = ("systemd", "unified", "memory", "pids")
"""The hierarchies that systemd gets where a machine has version 1 of control groups."""
TARGET = "ocr-test.target"
BOOT = """
folder=$1 group=$2 base=$3 packages=$4 native=$5
root=$folder/root
mount -t tmpfs layer "$folder/layer"
mkdir "$folder/layer/upper" "$folder/layer/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$folder/layer/upper,workdir=$folder/layer/work" "$root"
# Hide what this machine starts: kernel variables, devices, disks, timers.
for hidden in /etc/systemd/system /etc/sysusers.d /usr/lib/systemd/system-generators \
    /usr/lib/systemd/system/sysinit.target.wants /usr/lib/systemd/system/sockets.target.wants \
    /usr/lib/systemd/system/timers.target.wants /usr/lib/systemd/system/local-fs.target.wants \
    /usr/lib/systemd/system/multi-user.target.wants /run /tmp /var/log; do
    mkdir -p "$root$hidden"
    mount -t tmpfs -o mode=755 none "$root$hidden"
done
chmod 1777 "$root/tmp"
cp -a "$folder/files/." "$root"
mount --bind "$base" "$root/opt/python"
mount --bind "$packages" "$root/opt/ocr-models/.venv/lib/site-packages"
mount --bind "$native" "$root/opt/ocr-models/native"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sysfs "$root/sys"
# Control groups of its own, so that it sees and changes no others.
for hierarchy in systemd unified memory pids .; do
    if [ -e "/sys/fs/cgroup/$hierarchy/$group" ]; then echo $$ > "/sys/fs/cgroup/$hierarchy/$group/cgroup.procs"; fi
done
exec unshare --cgroup --pid --uts --ipc --fork --kill-child sh -euc '
root=$1 group=$2
mount -t proc proc "$root/proc"
chroot "$root" ldconfig
if [ -d "/sys/fs/cgroup/$group" ]; then
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
else
    mount -t tmpfs -o mode=755 none "$root/sys/fs/cgroup"
    for hierarchy in systemd unified memory pids; do
        [ -d "/sys/fs/cgroup/$hierarchy/$group" ] || continue
        mkdir "$root/sys/fs/cgroup/$hierarchy"
        case $hierarchy in
            unified) mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup/unified" ;;
            systemd) mount -t cgroup -o none,name=systemd systemd "$root/sys/fs/cgroup/systemd" ;;
            *) mount -t cgroup -o "$hierarchy" "$hierarchy" "$root/sys/fs/cgroup/$hierarchy" ;;
        esac
    done
fi
cd "$root"
# Not chroot alone: the kernel refuses user namespaces, and so PrivateUsers=, below a changed root.
pivot_root . mnt
umount -l /mnt
# As systemd does where it is not told to be in a container: LoadCredential= needs it.
mount --make-rshared /
exec chroot . env -i container=test PATH=/usr/sbin:/usr/bin:/sbin:/bin /lib/systemd/systemd --system \
    --unit=ocr-test.target --log-target=journal --show-status=0
' sh "$root" "$group"
"""
"""Runs in a mount namespace of its own."""


class Machine:
    """A booted machine."""

    def __init__(self, pid: int, console: Path) -> None:
        """`pid` is its systemd; `console` is a file with what that prints."""
        self.pid = pid
        self._console = console

    def run(self, command: str, *, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a shell command as root, in /opt/ocr-models. Unless `check` is false, it must succeed."""
        inside = ["nsenter", f"--target={self.pid}", "--mount", "--pid", "--root"]
        environment = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/", "SYSTEMD_PAGER": ""}
        done = subprocess.run(
            [*inside, "sh", "-c", f"cd /opt/ocr-models && {command}"],
            cwd="/",
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
        )
        assert not check or done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}\n{self._console.read_text()}"
        return done


@contextmanager
def booted(folder: Path) -> Iterator[Machine]:
    """Boot a machine until the end of the block. /opt/ocr-models has the checkout, without a file that is not needed.

    `folder` is the test's own.
    """
    for name in ("root", "layer"):
        (folder / name).mkdir()
    _write_files(folder / "files")
    group, groups = f"ocr-test-{uuid.uuid4().hex}", []
    for parent in [CONTROL_GROUPS / name for name in HIERARCHIES] if _has_version_1() else [CONTROL_GROUPS]:
        if parent.is_dir():
            (parent / group).mkdir()
            groups.append(parent / group)
    console = folder / "console"
    paths = [sys.base_prefix, sysconfig.get_path("purelib"), (ROOT / "native").resolve()]
    with console.open("wb") as output:
        command: list[str | Path] = ["unshare", "--mount", "sh", "-euc", BOOT, "sh", folder, group, *paths]  # type: ignore[list-item]
        starter = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        pid = eventually(lambda: _systemd_below(starter, console), within=30)
        machine = Machine(pid, console)
        eventually(lambda: machine.run(f"systemctl is-active {TARGET}", check=False).returncode == 0, within=30)
        yield machine
    except BaseException:
        print(console.read_text(), file=sys.stderr)
        raise
    finally:
        # The end of the first process ends all others of its namespace.
        for child in psutil.Process(starter.pid).children() if starter.poll() is None else []:
            with contextlib.suppress(psutil.NoSuchProcess):
                child.kill()
        starter.send_signal(signal.SIGKILL)
        starter.wait(timeout=30)
        eventually(lambda: all(removed(each) for each in groups), within=30)


def _has_version_1() -> bool:
    return (CONTROL_GROUPS / "systemd").is_dir()


def _systemd_below(starter: "subprocess.Popen[bytes]", console: Path) -> int:
    assert starter.poll() is None, console.read_text()
    for process in psutil.Process(starter.pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):  # a command of BOOT that has just ended
            if process.name() == "systemd":
                return process.pid
    return 0


def removed(group: Path) -> bool:
    """Remove a control group with those below it, which is possible once their processes have ended."""
    if not group.exists():
        return True
    try:
        for folder, _, _ in os.walk(group, topdown=False):
            Path(folder).rmdir()
    except OSError:
        return False
    return True


def _write_files(files: Path) -> None:
    """Write the files that the machine has besides this machine's: units, and the checkout with a virtual environment.

    The environment has this machine's Python and packages, at paths that ProtectHome= does not hide.
    """
    units = files / "etc/systemd/system"
    units.mkdir(parents=True)
    (units / TARGET).write_text("[Unit]\nRequires=basic.target systemd-journald.service\n")
    (files / "opt/python").mkdir(parents=True)
    # Where a Python below /root finds its own library.
    (files / "etc/ld.so.conf.d").mkdir()
    (files / "etc/ld.so.conf.d/00-python.conf").write_text("/opt/python/lib\n")
    checkout = files / "opt/ocr-models"
    for name in ("app", "deploy", "docs"):
        # Without compiled files, since other processes replace those while they are copied.
        shutil.copytree(ROOT / name, checkout / name, ignore=shutil.ignore_patterns("__pycache__"))
    (checkout / "native").mkdir()
    environment = checkout / ".venv"
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (environment / "bin").mkdir(parents=True)
    (environment / "lib" / "site-packages").mkdir(parents=True)
    (environment / "lib" / version).mkdir()
    (environment / "lib" / version / "site-packages").symlink_to("../site-packages")
    (environment / "bin" / "python").symlink_to(f"/opt/python/bin/{version}")
    (environment / "pyvenv.cfg").write_text("home = /opt/python/bin\ninclude-system-site-packages = false\n")
