"""Two services, each on its own mount."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.crash.labelled_hub import LabelledHub
from tests.support.hub import Hub
from tests.support.service import ROOT, RunningService
from tests.support.waiting import eventually
from tests.volumes.asking import Pair, RefusedAsUnsafe, ask, succeed
from tests.volumes.mounting import Mounts

READS = "tests.support.engines:Reads"
UNSAFE_SECONDS = float(os.environ.get("TEST_UNSAFE_SECONDS", "15"))
"""How long two services may take to find that locks of one do not reach the other."""


@dataclass(frozen=True)
class Services:
    """Two services, with the actions that only the process that started them can do."""

    pair: Pair
    a: RunningService
    b: RunningService
    hub: Hub
    """The hub that both services may pull from."""

    def kill_a(self) -> None:
        """Kill service A, as the kernel does when memory is exhausted."""
        self.a.stop(signal.SIGKILL)

    @contextmanager
    def hold_lease(self, name: str) -> Iterator[None]:
        """Lease a model by a command at A's mount until the end of the block."""
        command = [sys.executable, "-m", "app", "models", "lease", name, "--", "cat"]
        environment = os.environ | {"OCR_MODELS_DIR": str(self.a.models_dir)}
        with subprocess.Popen(command, cwd=ROOT, env=environment, stdin=subprocess.PIPE) as holder:
            try:
                eventually(lambda: succeed(self.pair.a.get(f"/models/{name}")).json()["blockers"])
                yield
            finally:
                holder.communicate()


@contextmanager
def two_services(work: Path, mounts: Mounts, *, locks_reach: bool = True, **settings: object) -> Iterator[Services]:
    """Start both services, and wait until they know whether they may change the folder."""
    about: dict[str, Any] = {"engine_class": READS, "max_uploads": 64, "log_format": "json"} | settings
    with LabelledHub() as hub:
        about["pull_allowed_urls"] = hub.cdn_url
        with (
            RunningService(work / "service-a", models_dir=mounts.a, **about) as a,
            RunningService(work / "service-b", models_dir=mounts.b, **about) as b,
        ):
            services = Services(Pair(a.client, b.client, mounts.behind, logs=lambda: a.log + b.log), a, b, hub)
            for service in (a, b):
                service.wait_until_ready()
                if not locks_reach and "single_service" not in settings:
                    _wait_until_refused(service)
            yield services


def _wait_until_refused(service: RunningService) -> None:
    """Empty the trash, which is empty, until that is refused. A service that never refuses fails its cases later."""

    def is_refused() -> bool:
        try:
            ask(service.client, "DELETE", "/trash")
        except RefusedAsUnsafe:
            return True
        return False

    try:
        eventually(is_refused, within=UNSAFE_SECONDS)
    except AssertionError:
        return
