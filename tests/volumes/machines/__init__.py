"""Two virtual machines that mount one folder with the kernel's own clients of NFS and CIFS.

This is no part of the test suites: it needs root, packages of Debian and many minutes. `make test-kernel-volumes` runs
it.
"""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.volumes.machines import initramfs, packages
from tests.volumes.machines.machine import Machine
from tests.volumes.machines.servers import Kind, serve

__all__ = ["Kind", "Machine", "two_machines"]


@contextmanager
def two_machines(kind: Kind, **settings: object) -> Iterator[tuple[Machine, Machine, Path]]:
    """Boot two machines with a ready service each; yield them and the folder on the server, which no client caches.

    The services have these settings, such as trash_retention='1h', whenever they are started.
    """
    packages.provide(install=False)
    with tempfile.TemporaryDirectory(prefix=f"machines-{kind}-") as temporary, ExitStack() as stack:
        folder = Path(temporary)
        behind, private = folder / "models", folder / "private"
        behind.mkdir()
        private.mkdir()
        common = packages.CACHE / "initramfs"
        initramfs.build(common)
        mount = stack.enter_context(serve(kind, behind, private))
        machines = [stack.enter_context(Machine(f"machine-{name}", mount, folder, common, settings)) for name in "ab"]
        for machine in machines:
            machine.wait_until_booted()
            machine.begin_service()
        for machine in machines:
            machine.wait_until_ready()
        yield machines[0], machines[1], behind
