"""The Debian packages of the machines: programs that are installed, and a kernel that is only unpacked."""

import os
import shutil
import subprocess
from pathlib import Path

from tests.support.service import ROOT

CACHE = ROOT / "build/machines"
KERNEL = CACHE / "kernel"
PROGRAMS = {
    "qemu-system-x86": "/usr/bin/qemu-system-x86_64",
    "busybox-static": "/bin/busybox",
    "cpio": "/usr/bin/cpio",
    "kmod": "/sbin/modprobe",
    "nfs-ganesha": "/usr/bin/ganesha.nfsd",
    "nfs-ganesha-vfs": "/usr/lib/x86_64-linux-gnu/ganesha/libfsalvfs.so",
    "samba": "/usr/sbin/smbd",
}
"""Each package, and a file that it installs."""


class Missing(Exception):
    """A package, or the right to use it, is missing."""


def provide(*, install: bool) -> None:
    """Check for the packages, install them if `install` is set, and fetch the kernel. Raises Missing."""
    if os.geteuid() != 0:
        message = "the servers of NFS and CIFS serve files of any owner, and take root"
        raise Missing(message)
    missing = [package for package, path in PROGRAMS.items() if not Path(path).exists()]
    if missing and not install:
        message = f"packages are missing; --install installs them, or: apt-get install {' '.join(missing)}"
        raise Missing(message)
    if missing:
        # RUNLEVEL=1 prevents the packages from starting their servers; the tests run private ones.
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        subprocess.run(["apt-get", "update", "-qq"], check=True)
        command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *missing]
        subprocess.run(command, env=environment, stdout=subprocess.DEVNULL, check=True)
    if not KERNEL.exists():
        _fetch_kernel()


def kernel_version() -> str:
    """Return the version of the unpacked kernel."""
    (modules,) = (KERNEL / "lib/modules").iterdir()
    return modules.name


def _fetch_kernel() -> None:
    depends = subprocess.run(
        ["apt-cache", "depends", "linux-image-amd64"], capture_output=True, text=True, check=True
    ).stdout
    names = [line.split()[-1] for line in depends.splitlines() if "Depends: linux-image-" in line]
    if not names:
        message = "apt knows no linux-image-amd64; `apt-get update` may help, and --install runs it"
        raise Missing(message)
    CACHE.mkdir(parents=True, exist_ok=True)
    subprocess.run(["apt-get", "download", "-qq", names[0]], cwd=CACHE, stderr=subprocess.DEVNULL, check=True)
    (archive,) = CACHE.glob("linux-image-*.deb")
    unpacked = CACHE / "unpacking"
    shutil.rmtree(unpacked, ignore_errors=True)
    subprocess.run(["dpkg", "-x", archive, unpacked], check=True)
    archive.unlink()
    (unpacked / "usr/lib").mkdir(parents=True, exist_ok=True)  # depmod looks there too
    (version,) = [folder.name for folder in (unpacked / "lib/modules").iterdir()]
    subprocess.run(["depmod", "-b", unpacked, version], check=True)
    unpacked.rename(KERNEL)
