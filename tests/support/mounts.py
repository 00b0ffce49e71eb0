"""Services in mount namespaces of their own, where disks come and go; what is outside sees the empty mount point."""

import subprocess
from pathlib import Path

UNSHARE = ("unshare", "--map-root-user", "--mount", "sh", "-c")


def with_mounts(script: str) -> tuple[str, ...]:
    """A wrapper that runs these shell commands before the service, where it alone sees what they mount."""
    return (*UNSHARE, f'set -e; {script}; exec "$@"', "sh")


def small_disk(models_dir: Path, size: str) -> tuple[str, ...]:
    """The model folder is a file system of that size, such as '256k'."""
    return with_mounts(f"mount -t tmpfs -o size={size} none {models_dir}")


def removable_disk(folder: Path) -> tuple[str, ...]:
    """The model folder `models` is a mount of the disk at `disk`; at `other` there is another disk."""
    for name in ("models", "disk", "other"):
        (folder / name).mkdir()
    mounts = [f"mount -t tmpfs -o size=32m none {folder}/{name}" for name in ("disk", "other")]
    return with_mounts("; ".join([*mounts, f"mount --bind {folder}/disk {folder}/models"]))


def mount(pid: int, *arguments: object) -> None:
    """Run a command, `mount` or `umount`, in the namespace of a service."""
    namespaces = ("nsenter", f"--target={pid}", "--user", "--mount", "--preserve-credentials")
    subprocess.run([*namespaces, *map(str, arguments)], check=True)


def seen_by(pid: int, path: Path) -> Path:
    """The same path as that process sees it."""
    return Path(f"/proc/{pid}/root{path}")
