"""The containers of a Compose file, each made by crun from what the file says of it, in a network of their own.

Command, variables, user, groups, secrets, volumes, tmpfs, read-only root, capabilities, memory limit, host name,
address and order are those of the file. The limit of processes and the size of /dev/shm are not applied, and nothing is
started again by itself. As in `pods`, the root file system is this machine's, with the checkout at the paths of the
image.
"""

import itertools
import os
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tests.support.deployed.networks import Network
from tests.support.deployed.pods import IMAGE_FOLDERS, KERNEL_MOUNTS, Pod, default_seccomp, image_mount, run_bundle
from tests.support.waiting import eventually

SIZES = {"g": 1 << 30, "m": 1 << 20}
PAUSE_SECONDS = 1.0
"""The pause before each health check, which is a program that takes time from the one that starts."""


@dataclass(frozen=True)
class Image:
    """What an image says of its containers, for that of which the file says nothing."""

    stop_signal: signal.Signals
    variables: dict[str, str]
    user: str = "0:0"
    folder: str = "/"
    """The folder in which commands begin."""
    command: list[str] = field(default_factory=list)
    health_check: list[str] = field(default_factory=list)
    """The command that checks a container; empty if there is none."""


class Project:
    """The containers of a Compose file, as `resolved` reads it. The end of the block kills those that run."""

    def __init__(
        self, compose: Any, files: Path, folder: Path, network: Network, images: dict[str, Image], **addresses: str
    ) -> None:
        """`files` is the folder of the Compose file, `folder` the test's own. `images` has one for each service.

        `addresses` are those of the services for which the file has none.
        """
        self._services, self._secrets = compose["services"], compose.get("secrets", {})
        self._files, self._folder, self._network, self._images = files, folder, network, images
        self._addresses = addresses
        self._containers, self._numbers = ExitStack(), itertools.count()
        self.running: dict[str, Pod] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._containers.close()

    def address(self, name: str) -> str:
        """Return the address of a service."""
        fixed = self._services[name].get("networks", {}).get("default", {}).get("ipv4_address")
        return str(fixed or self._addresses[name])

    def start_all(self) -> None:
        """Start the containers, each when those that it depends on are healthy."""
        while waiting := self._services.keys() - self.running.keys():
            names = [name for name in waiting if self._needs(name) <= self.running.keys()]
            assert names, waiting
            for name in names:
                self.start(name)
            for name in names:
                self.wait_until_healthy(name)

    def start(self, name: str) -> None:
        """Start a container, also again after its end."""
        folder = self._folder / f"container-{next(self._numbers)}-{name}"
        folder.mkdir()
        limit = self._services[name]["mem_limit"]
        run = run_bundle(self._bundle(name, folder), int(limit[:-1]) * SIZES[limit[-1]], folder)
        self.running[name] = self._containers.enter_context(run)

    def wait_until_healthy(self, name: str) -> None:
        """Wait until the health check of a container succeeds, if there is one. Fails if the container ends."""
        pod, check = self.running[name], self._images[name].health_check
        if of_file := self._services[name].get("healthcheck"):
            kind, *check = of_file["test"]
            assert kind == "CMD"

        def is_healthy() -> bool:
            assert pod.process.poll() is None, pod.log
            time.sleep(PAUSE_SECONDS)
            return pod.succeeds(*check)

        if check:
            eventually(is_healthy, within=60)
        assert pod.process.poll() is None, pod.log

    def stop_all(self) -> None:
        """Stop the containers, each before those that it depends on. Each has to end with the status 0."""
        while running := self.running.keys():
            needed = set[str]().union(*map(self._needs, running))
            names = running - needed
            for name in names:
                os.kill(self.running[name].pid, self._images[name].stop_signal)
            for name in names:
                pod = self.running.pop(name)
                assert pod.process.wait(timeout=300) == 0, pod.log

    def _needs(self, name: str) -> set[str]:
        return set(self._services[name].get("depends_on", {}))

    def _bundle(self, name: str, folder: Path) -> Any:
        """Return the configuration of a container, as the OCI's runtime specification has it."""
        service, image = self._services[name], self._images[name]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        user, _, group = str(service.get("user", image.user)).partition(":")
        groups = [int(each) for each in service.get("group_add", [])]
        variables = image.variables | service.get("environment", {})
        (folder / "passwd").write_text(f"{Path('/etc/passwd').read_text()}image:x:{user}:{group}::/:/bin/sh\n")
        hosts = [f"{self.address(each)} {each}\n" for each in self._services]
        (folder / "hosts").write_text("127.0.0.1 localhost\n" + "".join(hosts))
        own = [_bind(folder / each, f"/etc/{each}", "ro") for each in ("passwd", "hosts")]
        tmpfs = [_tmpfs(each) for each in service.get("tmpfs", [])]
        images = [image_mount(each) for each in IMAGE_FOLDERS]
        network = {"type": "network", "path": self._network.join(self.address(name))}
        return {
            "ociVersion": "1.0.2",
            "hostname": service.get("hostname", name),
            "root": {"path": "root", "readonly": service["read_only"]},
            "process": {
                "cwd": image.folder,
                "args": service.get("command", image.command),
                "env": [f"{key}={value}" for key, value in variables.items()],
                "user": {"uid": int(user), "gid": int(group), "additionalGids": groups},
                "noNewPrivileges": True,
                "capabilities": {},
            },
            "mounts": [*KERNEL_MOUNTS, *tmpfs, *images, *self._volumes(service), *own],
            "linux": {
                "namespaces": [*({"type": kind} for kind in ("pid", "mount", "ipc", "uts")), network],
                "seccomp": default_seccomp(),
            },
        }

    def _volumes(self, service: Any) -> Iterator[dict[str, Any]]:
        """Yield the mounts of volumes and secrets. A named volume is a folder of the test."""
        for volume in service.get("volumes", []):
            source, at, *mode = volume.split(":")
            path = (self._files / source).resolve() if source.startswith(".") else self._folder / source
            yield _bind(path, at, *mode)
        for secret in service.get("secrets", []):
            yield _bind(Path(self._secrets[secret]["file"]), f"/run/secrets/{secret}", "ro")


def _bind(source: Path, at: str, mode: str = "rw") -> dict[str, Any]:
    return {"destination": at, "type": "bind", "source": str(source), "options": ["bind", mode]}


def _tmpfs(described: str) -> dict[str, Any]:
    at, _, options = described.partition(":")
    return {
        "destination": at,
        "type": "tmpfs",
        "source": "tmpfs",
        "options": ["nosuid", "nodev", *options.split(",")],
    }
