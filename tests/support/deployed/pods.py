"""A pod, as a node would run it: the container of a Deployment, made by crun, a runtime that Kubernetes's nodes use.

The user, the capabilities, the seccomp profile, the read-only root, the volumes, the settings and the memory limit are
those of the manifest. Three things differ from a pod: the root file system is this machine's, with the checkout at the
paths of the image; the network is this machine's; and no kubelet asks the probes. Needs root and crun.
"""

import json
import subprocess
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.support.service import ROOT
from tests.support.waiting import eventually

SECCOMP = Path("/usr/share/containers/seccomp.json")
"""The default profile of podman, buildah and CRI-O: what `RuntimeDefault` means there. containerd's is similar."""
CONTROL_GROUPS = Path("/sys/fs/cgroup")
UNITS = {"Gi": 1 << 30, "Mi": 1 << 20}
AS_A_POD = """
# Over this machine's root, because crun makes a folder in the root for each volume.
mount -t tmpfs layer "$1/layer"
mkdir "$1/layer/upper" "$1/layer/work"
mount -t overlay overlay -o "lowerdir=/,upperdir=$1/layer/upper,workdir=$1/layer/work" "$1/root"
# The user of the pod may not enter every folder above this machine's Python, such as /root.
folder=$3
while [ "$folder" != / ]; do chmod o+rx "$1/root$folder"; folder=$(dirname "$folder"); done
echo $$ > "$4/cgroup.procs"
# crun does not run where both versions of control groups are mounted; only this process's view changes.
if mountpoint -q /sys/fs/cgroup/unified; then umount /sys/fs/cgroup/unified; fi
exec crun --root "$1/crun" --cgroup-manager disabled run --bundle "$1" "$2"
"""


class Pod:
    """A running container of a pod."""

    def __init__(self, process: subprocess.Popen[bytes], pid: int, log: Path, inside: tuple[str, ...]) -> None:
        """`process` is crun, which ends with the container's status; `pid` is the container's first process.

        `inside` goes before a command that is to run in the container.
        """
        self.process = process
        self.pid = pid
        self._log = log
        self._inside = inside

    def succeeds(self, *command: str) -> bool:
        """Return True if a command succeeds in the container."""
        return subprocess.run([*self._inside, *command], check=False, capture_output=True).returncode == 0

    @property
    def log(self) -> str:
        """What the container has printed."""
        return self._log.read_text()


@contextmanager
def running(
    deployment: Any, environment: dict[str, str], volumes: dict[str, Path], command: list[str], folder: Path
) -> Iterator[Pod]:
    """Run the container of a Deployment until the end of the block.

    `environment` has the variables of the image, of the ConfigMap and of the test. `volumes` has a folder of this
    machine for each volume of the pod. `folder` is the test's own.
    """
    spec = deployment["spec"]["template"]["spec"]
    limit = memory_bytes(spec["containers"][0]["resources"]["limits"]["memory"])
    with run_bundle(_bundle(spec, environment, volumes, command), limit, folder) as pod:
        yield pod


@contextmanager
def run_bundle(bundle: Any, limit_bytes: int, folder: Path) -> Iterator[Pod]:
    """Run a container with this configuration and limit of memory until the end of the block."""
    for name in ("root", "layer"):
        (folder / name).mkdir()
    (folder / "config.json").write_text(json.dumps(bundle))
    name = f"ocr-test-{uuid.uuid4().hex}"
    log = folder / "log"
    group = _control_group(name, limit_bytes)
    start: list[str | Path] = ["unshare", "--mount", "sh", "-euc", AS_A_POD, "sh", folder, name, sys.base_prefix, group]
    with log.open("wb") as output:
        process = subprocess.Popen(start, stdin=subprocess.DEVNULL, stdout=output, stderr=output)
    try:
        pid = eventually(lambda: _first_process(process, folder, name, log), within=30)
        inside = ("crun", "--root", str(folder / "crun"), "exec", "--cwd", bundle["process"]["cwd"], name)
        yield Pod(process, pid, log, inside)
    finally:
        subprocess.run(["crun", "--root", folder / "crun", "delete", "--force", name], check=False, capture_output=True)
        process.wait(timeout=30)
        eventually(lambda: _removed(group), within=30)


def memory_bytes(quantity: str) -> int:
    """Return the bytes of a quantity such as 4Gi."""
    return int(quantity[:-2]) * UNITS[quantity[-2:]]


def _control_group(name: str, limit_bytes: int) -> Path:
    """Make a control group with a memory limit, for either version of control groups."""
    version_1 = CONTROL_GROUPS / "memory"
    folder = (version_1 if version_1.is_dir() else CONTROL_GROUPS) / name
    folder.mkdir()
    (folder / ("memory.limit_in_bytes" if version_1.is_dir() else "memory.max")).write_text(str(limit_bytes))
    return folder


def _removed(group: Path) -> bool:
    try:
        group.rmdir()
    except OSError:  # a process has not ended yet
        return False
    return True


def _first_process(process: subprocess.Popen[bytes], folder: Path, name: str, log: Path) -> int:
    assert process.poll() is None, log.read_text()
    state = subprocess.run(
        ["crun", "--root", folder / "crun", "state", name], capture_output=True, text=True, check=False
    )
    return int(json.loads(state.stdout)["pid"]) if state.returncode == 0 else 0


def _bundle(spec: Any, environment: dict[str, str], volumes: dict[str, Path], command: list[str]) -> Any:
    """Return the configuration of the container, as the OCI's runtime specification has it."""
    pod, (container,) = spec["securityContext"], spec["containers"]
    own = container["securityContext"]
    assert own["capabilities"] == {"drop": ["ALL"]}
    assert pod["seccompProfile"] == {"type": "RuntimeDefault"}
    return {
        "ociVersion": "1.0.2",
        "root": {"path": "root", "readonly": own["readOnlyRootFilesystem"]},
        "process": {
            "cwd": "/srv/ocr",
            "args": command,
            "env": [f"{name}={value}" for name, value in environment.items()],
            "user": {"uid": pod["runAsUser"], "gid": pod["runAsGroup"], "additionalGids": [pod["fsGroup"]]},
            "noNewPrivileges": not own["allowPrivilegeEscalation"],
            "capabilities": {},
        },
        "mounts": [*KERNEL_MOUNTS, *map(image_mount, IMAGE_FOLDERS), *_volume_mounts(container, volumes)],
        "linux": {
            "namespaces": [{"type": kind} for kind in ("pid", "mount", "ipc", "uts")],
            "seccomp": default_seccomp(),
        },
    }


KERNEL_MOUNTS = [
    {"destination": "/proc", "type": "proc", "source": "proc"},
    {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755", "size=64k"]},
    {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["nosuid", "mode=1777"]},  # noqa: S108
    {"destination": "/sys", "type": "none", "source": "/sys", "options": ["rbind", "nosuid", "noexec", "nodev", "ro"]},
]


IMAGE_FOLDERS = {
    "/srv/ocr/app": ROOT / "app",
    "/opt/venv": Path(sys.prefix),
    "/opt/ocr/native": ROOT / "native",
}
"""Where the Dockerfile puts the application, its packages and the native libraries, and where they are here."""


def image_mount(path: str) -> Any:
    source = str(IMAGE_FOLDERS[path].resolve())
    return {"destination": path, "type": "bind", "source": source, "options": ["rbind", "ro"]}


def _volume_mounts(container: Any, volumes: dict[str, Path]) -> list[Any]:
    return [
        {
            "destination": mount["mountPath"],
            "type": "bind",
            "source": str(volumes[mount["name"]]),
            "options": ["bind", "nosuid", "nodev", "ro" if mount.get("readOnly") else "rw"],
        }
        for mount in container["volumeMounts"]
    ]


def default_seccomp() -> Any:
    """Return the default profile for a container without capabilities on x86-64, in the form of the OCI."""
    profile = json.loads(SECCOMP.read_text())
    rules = [
        {"names": rule["names"], "action": rule["action"], "args": rule["args"] or []}
        | ({"errnoRet": rule["errnoRet"]} if rule["action"] == "SCMP_ACT_ERRNO" else {})
        for rule in profile["syscalls"]
        if not rule["includes"].get("caps") and "amd64" in rule["includes"].get("arches", ["amd64"])
    ]
    return {
        "defaultAction": profile["defaultAction"],
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"],
        "syscalls": rules,
    }
