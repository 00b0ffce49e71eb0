"""Wrappers that run a service in its own mount namespace. Only the service sees the disks that are mounted there."""

import subprocess
from pathlib import Path

UNSHARE = ("unshare", "--map-root-user", "--mount", "sh", "-c")


def with_mounts(script: str) -> tuple[str, ...]:
    """Return a wrapper that runs shell commands, such as mounts, in a new namespace before the service."""
    return (*UNSHARE, f'set -e; {script}; exec "$@"', "sh")


def small_disk(models_dir: Path, size: str) -> tuple[str, ...]:
    """Return a wrapper whose model folder is a file system of a given size, such as '256k'."""
    return with_mounts(f"mount -t tmpfs -o size={size} none {models_dir}")


def removable_disk(folder: Path) -> tuple[str, ...]:
    """Return a wrapper that mounts the disk at `disk` as the model folder `models`; at `other` is a second disk."""
    for name in ("models", "disk", "other"):
        (folder / name).mkdir()
    mounts = [f"mount -t tmpfs -o size=32m none {folder}/{name}" for name in ("disk", "other")]
    return with_mounts("; ".join([*mounts, f"mount --bind {folder}/disk {folder}/models"]))


def mount(pid: int, *arguments: object) -> None:
    """Run a command, `mount` or `umount`, in the namespace of a service."""
    namespaces = ("nsenter", f"--target={pid}", "--user", "--mount", "--preserve-credentials")
    subprocess.run([*namespaces, *map(str, arguments)], check=True)


def seen_by(pid: int, path: Path) -> Path:
    """Return the path by which this process reaches the path that another process sees."""
    return Path(f"/proc/{pid}/root{path}")


def fill(folder: Path) -> None:
    """Fill the disk of a folder to its last byte, with a file named filler."""
    with (folder / "filler").open("wb", buffering=0) as filler:
        try:
            while True:
                filler.write(b"x" * 4096)
        except OSError:
            pass
