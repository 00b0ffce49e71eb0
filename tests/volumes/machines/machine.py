"""A virtual machine: QEMU with Debian's kernel, a mount of the folder, and a service on it."""

import secrets
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import httpx

from tests.support.processes import free_port
from tests.support.service import ROOT
from tests.support.waiting import eventually
from tests.volumes.machines import guest, initramfs
from tests.volumes.machines.packages import KERNEL
from tests.volumes.machines.servers import Mount
from tests.volumes.services import READS

BOOT_SECONDS = 300
START_SECONDS = 300
"""How long a start may take: usually half a minute on an emulated processor, several on a busy host."""
PROBE_SECONDS = 15
PYTHON = ROOT / ".venv/bin/python"
ENVIRONMENT = {
    "PATH": f"{PYTHON.parent}:/usr/local/bin:/usr/bin:/bin",
    "HOME": "/root",
    "LANG": "C.UTF-8",
    "OCR_HOST": "0.0.0.0",  # the machine is reachable only through a port of the host's loopback
    "OCR_ALLOW_ANONYMOUS": "true",
    "OCR_ALLOWED_HOSTS": "*",
    "OCR_MODELS_DIR": "/mnt/models",
    "OCR_STATE_DIR": "/run/state",
    "OCR_ENGINE_CLASS": READS,
}


@dataclass(frozen=True)
class Ran:
    """The result of a command in a machine: its output and status, or the process id of one that still runs."""

    pid: int
    status: int | None
    output: str


class Machine:
    """A machine. It boots on entry and is ended on exit. `url` is the address of its service on the host."""

    def __init__(self, name: str, mount: Mount, folder: Path, common: Path, settings: Mapping[str, object]) -> None:
        """`folder` is for the console's log and the initramfs; `common` is the part that all machines share."""
        self._settings = {f"OCR_{name.upper()}": str(value) for name, value in settings.items()}
        self.name = name
        self._mount, self._folder, self._common = mount, folder, common
        self._token = secrets.token_hex()
        self._port, self._commands_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self._service_pid: int | None = None
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> "Machine":
        initial = self._folder / f"{self.name}.initramfs"
        initramfs.build_for(
            initial,
            self._common,
            NAME=self.name,
            TYPE=self._mount.type,
            OPTIONS=self._mount.options,
            SOURCE=self._mount.source,
            PROJECT=ROOT,
            PYTHON=PYTHON,
            TOKEN=self._token,
        )
        self._process = _boot(
            initial,
            self._folder / f"{self.name}.console",
            accelerator(self._common),
            f"hostfwd=tcp:127.0.0.1:{self._port}-:8000",
            f"hostfwd=tcp:127.0.0.1:{self._commands_port}-:{guest.PORT}",
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        self._process.wait(timeout=30)

    @property
    def console(self) -> str:
        """The text that its kernel has written."""
        return (self._folder / f"{self.name}.console").read_text(errors="replace")

    def wait_until_booted(self) -> None:
        """Wait until the machine takes commands."""
        eventually(
            lambda: self._is_alive() and _answers(f"http://127.0.0.1:{self._commands_port}"), within=BOOT_SECONDS
        )

    def run(self, command: Sequence[object], *, background: bool = False, **environment: str) -> Ran:
        """Run a command in the project's folder. In the background its output goes to the log of the service."""
        content = {
            "command": [str(part) for part in command],
            "environment": ENVIRONMENT | environment,
            "log": "/run/log" if background else None,
        }
        url, headers = f"http://127.0.0.1:{self._commands_port}", {"Authorization": self._token}
        answer = httpx.post(url, json=content, headers=headers, timeout=600, trust_env=False)
        ran: dict[str, Any] = answer.raise_for_status().json()
        return Ran(**ran)

    def start_service(self) -> None:
        """Start `python -m app serve` and wait until it is ready."""
        self.begin_service()
        self.wait_until_ready()

    def begin_service(self) -> None:
        """Start `python -m app serve` without waiting."""
        self._service_pid = self.run(["python", "-m", "app", "serve"], background=True, **self._settings).pid

    @property
    def is_serving(self) -> bool:
        """True if the service was started and not killed."""
        return self._service_pid is not None

    def wait_until_ready(self) -> None:
        """Wait until the service is ready."""
        eventually(lambda: self._is_alive() and _answers(f"{self.url}/readyz"), within=START_SECONDS)

    def kill_service(self) -> None:
        """Kill the service with SIGKILL; the machine and its mount stay."""
        assert self._service_pid is not None
        self.run(["kill", "-KILL", self._service_pid])
        self._service_pid = None

    @property
    def log(self) -> str:
        """The output of the service and of commands in the background."""
        return self.run(["cat", "/run/log"]).output

    def keep_log(self, path: Path) -> None:
        """Write the log to a file, with the place where each thread of the service waits in the kernel."""
        waiting = f"for task in /proc/{self._service_pid}/task/*; do cat $task/comm $task/wchan $task/stack; done"
        path.write_text(self.log + self.run(["sh", "-c", waiting]).output)

    def _is_alive(self) -> bool:
        if self._process.poll() is not None:
            message = f"machine {self.name} has ended; its console:\n{self.console[-3000:]}"
            raise AssertionError(message)
        return True


@cache
def accelerator(common: Path) -> str:
    """Return 'kvm' if a machine boots with it, otherwise 'tcg': on some hosts /dev/kvm exists but no kernel starts."""
    if not Path("/dev/kvm").exists():
        return "tcg"
    console = common.with_suffix(".console")
    process = _boot(common, console, "kvm", append="probe")
    try:
        process.wait(timeout=PROBE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    return "kvm" if "machine: it runs" in console.read_text(errors="replace") else "tcg"


def _boot(initial: Path, console: Path, accelerator: str, *forwards: str, append: str = "") -> subprocess.Popen[bytes]:
    (kernel,) = (KERNEL / "boot").glob("vmlinuz-*")
    # On a busy host the kernel measures an emulated processor's own clock wrongly: it gained 10 s in a minute.
    # It also finds that its timer does not tick, and does not start.
    clock = "clocksource=hpet no_timer_check" if accelerator == "tcg" else ""
    command = [
        "qemu-system-x86_64",
        *("-accel", accelerator, "-cpu", "max", "-smp", "1", "-m", "1024"),
        *("-nodefaults", "-no-reboot", "-display", "none", "-serial", f"file:{console}"),
        *("-kernel", str(kernel), "-initrd", str(initial), "-append", f"console=ttyS0 quiet panic=-1 {clock} {append}"),
        *("-virtfs", "local,path=/,mount_tag=host,readonly=on,security_model=none,multidevs=remap"),
        *("-netdev", ",".join(["user,id=net", *forwards]), "-device", "virtio-net-pci,netdev=net,romfile="),
        *("-device", "virtio-rng-pci"),
    ]
    with console.with_suffix(".qemu").open("wb") as output:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=output)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5, trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
