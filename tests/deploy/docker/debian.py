"""A Debian 13 with Docker and Compose, and the image of the service as an archive of Docker."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.support.service import ROOT

CACHE = ROOT / "build/docker"
DEBIAN = CACHE / "debian"
ARCHIVE = CACHE / "image.tar"
SUITE = "trixie"
"""The first suite that has version 2 of Compose."""
PACKAGES = ("docker.io", "docker-cli", "docker-compose", "iptables", "curl", "procps")


class Missing(Exception):
    """A program, the right to use it, or a part of the kernel is missing."""


def provide() -> None:
    """Make the Debian, unless it exists. Raises Missing."""
    if os.geteuid() != 0:
        message = "it needs root, for namespaces, mounts and control groups"
        raise Missing(message)
    if not Path("/sys/fs/cgroup/memory").is_dir():
        message = "it needs control groups of version 1"
        raise Missing(message)
    if missing := [name for name in ("buildah", "debootstrap") if not shutil.which(name)]:
        message = f"packages are missing: apt-get install {' '.join(missing)}"
        raise Missing(message)
    CACHE.mkdir(parents=True, exist_ok=True)
    if DEBIAN.exists():
        return
    with tempfile.TemporaryDirectory(dir=CACHE) as folder:
        root = Path(folder, "root")
        options = ["--variant=minbase", f"--include={','.join(PACKAGES)}"]
        # In a mount namespace, because debootstrap mounts /proc.
        command = ["unshare", "--mount", "debootstrap", *options, SUITE, str(root), *_mirror()]
        subprocess.run(command, stdout=sys.stderr, check=True)
        (root / "var/lib/docker").mkdir(exist_ok=True)
        root.rename(DEBIAN)


def make_archive() -> None:
    """Build the image of this checkout and write it as an archive that `docker load` reads."""
    CACHE.mkdir(parents=True, exist_ok=True)
    ARCHIVE.unlink(missing_ok=True)  # buildah does not replace an archive
    subprocess.run([sys.executable, ROOT / "deploy/image_build.py", ARCHIVE], stdout=sys.stderr, check=True)


def _mirror() -> list[str]:
    """Return the URL from which this machine's apt gets Debian; empty if apt does not know one."""
    command = ["apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages"]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()
    # The same server has all suites. Security updates are elsewhere, and their code name has another end.
    return [line.split(" ", 1)[1] for line in found if line.startswith(("bookworm ", f"{SUITE} "))][:1]
