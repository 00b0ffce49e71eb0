"""The services of two machines, with the actions that the scenarios need from the process that started them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.support.crash.labelled_hub import LabelledHub
from tests.support.hub import Hub
from tests.support.waiting import eventually
from tests.volumes.asking import Pair, succeed
from tests.volumes.machines import Kind, Machine, two_machines
from tests.volumes.machines.servers import HOST

LOOPBACK = "127.0.0.1"
ANSWER_SECONDS = 120
LEASE_SECONDS = 90
"""How long a lease may take to show: a new Python process takes many seconds on an emulated processor."""


class HubOfTheHost(LabelledHub):
    """A hub on the host's loopback, whose URL is the one that machines reach."""

    def __init__(self) -> None:
        super().__init__((LOOPBACK, LOOPBACK))

    @property
    def cdn_url(self) -> str:
        return super().cdn_url.replace(LOOPBACK, HOST)


@dataclass(frozen=True)
class MachineServices:
    """Two services on two machines, with the members of `tests.volumes.services.Services` that the scenarios use."""

    pair: Pair
    a: Machine
    b: Machine
    hub: Hub

    def kill_a(self) -> None:
        """Kill service A with SIGKILL; its machine stays."""
        self.a.kill_service()

    @contextmanager
    def hold_lease(self, name: str) -> Iterator[None]:
        """Lease a model by a command on A until the end of the block."""
        command = ["python", "-m", "app", "models", "lease", name, "--", "sleep", "600"]
        pid = self.a.run(command, background=True).pid
        try:
            eventually(lambda: succeed(self.pair.a.get(f"/models/{name}")).json()["blockers"], within=LEASE_SECONDS)
            yield
        finally:
            self.a.run(["kill", "-TERM", pid])  # this process is now the `sleep`, which replaced the command

    def keep_logs(self, folder: Path, title: str) -> None:
        """Write both services' logs to files."""
        for which, machine in zip("ab", (self.a, self.b), strict=True):
            machine.keep_log(folder / f"{title}-{which}.log")

    def restart_killed_services(self) -> None:
        """Start the services that a case has killed, so that the next case has both."""
        for machine in (self.a, self.b):
            if not machine.is_serving:
                machine.start_service()


@contextmanager
def services_on_machines(kind: Kind) -> Iterator[MachineServices]:
    """Run two machines with ready services, and a hub that they may pull from."""
    with (
        HubOfTheHost() as hub,
        two_machines(kind, max_uploads=64, log_format="json", pull_allowed_urls=hub.cdn_url) as (a, b, behind),
        _client(a) as client_a,
        _client(b) as client_b,
    ):
        yield MachineServices(Pair(client_a, client_b, behind), a, b, hub)


def _client(machine: Machine) -> httpx.Client:
    return httpx.Client(base_url=machine.url, timeout=ANSWER_SECONDS, trust_env=False)
