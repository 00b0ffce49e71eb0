"""The first file system of a machine: busybox, the kernel's modules in order, and the machine's variables."""

import gzip
import os
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from tests.volumes.machines.packages import KERNEL, kernel_version

MODULES = ("virtio_pci", "virtio_net", "9p", "9pnet_virtio", "overlay", "nfsv4", "cifs", "nls_utf8")
CIPHERS = (
    "md5",
    "hmac",
    "ecb",
    "aes_generic",
    "sha256_generic",
    "sha512_generic",
    "cmac",
    "ctr",
    "ccm",
    "ghash_generic",
    "gcm",
)
"""Modules that cifs requests at run time, when the machine has no modprobe."""


def build(path: Path) -> None:
    """Write the part that all machines share."""
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        for name in ("bin", "modules", "proc", "sys", "dev", "host", "changes", "root"):
            (root / name).mkdir()
        shutil.copy("/bin/busybox", root / "bin/busybox")
        (root / "bin/sh").symlink_to("busybox")
        shutil.copy(Path(__file__).with_name("init.sh"), root / "init")
        (root / "init").chmod(0o755)
        modules = _modules_in_order()
        for module in modules:
            shutil.copy(module, root / "modules")
        (root / "modules/order").write_text("".join(f"{module.name}\n" for module in modules))
        draft = path.with_suffix(f".{os.getpid()}")
        draft.write_bytes(_archive(root))
        draft.rename(path)  # atomic, because other processes may boot machines now


def build_for(machine: Path, common: Path, **variables: object) -> None:
    """Write the shared part, followed by the variables of one machine: the kernel unpacks all archives in a file."""
    with tempfile.TemporaryDirectory() as temporary:
        lines = [f"{name}={shlex.quote(str(value))}\n" for name, value in variables.items()]
        Path(temporary, "machine").write_text("".join(lines))
        content = _archive(Path(temporary))
    machine.write_bytes(common.read_bytes() + content)


def _modules_in_order() -> list[Path]:
    """Return the modules, each after those that it needs, without those that are built into the kernel."""
    found: dict[Path, None] = {}
    for name in (*CIPHERS, *MODULES):
        command = ["modprobe", "-d", str(KERNEL), "-S", kernel_version(), "--show-depends", name]
        shown = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found |= {Path(line.split()[1]): None for line in shown.splitlines() if line.startswith("insmod ")}
    return list(found)


def _archive(root: Path) -> bytes:
    names = "\n".join(str(path.relative_to(root)) for path in sorted(root.rglob("*")))
    packed = subprocess.run(
        ["cpio", "-o", "-H", "newc", "--quiet"], cwd=root, input=names.encode(), capture_output=True, check=True
    )
    return gzip.compress(packed.stdout, 1)
