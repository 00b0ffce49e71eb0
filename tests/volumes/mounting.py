"""Two mounts of one folder, as on two machines: each has its own client, with the client's default caches."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.volumes.programs import CannotMount, Program, mounted, need, running
from tests.volumes.servers import Brick, MooseMaster, SshServer, brick_folder, second_loopback

__all__ = ["FILE_SYSTEMS", "LOCKS_REACH", "CannotMount", "FileSystem", "Mounts"]


@dataclass(frozen=True)
class Mounts:
    """One folder, mounted twice and reachable without caches."""

    a: Path
    b: Path
    behind: Path
    """The folder without any client's cache, which shows what is really there."""
    server: Program | None = None
    """The process that a test stops to make the storage hang: the server, or the client of A if there is none."""

    def folder(self, name: str) -> "Mounts":
        """Create a subfolder and return it as mounts."""
        (self.a / name).mkdir()
        return Mounts(self.a / name, self.b / name, self.behind / name, self.server)


FileSystem = Callable[[Path], AbstractContextManager[Mounts]]
"""A function that mounts a file system in a folder for a `with` block; raises CannotMount."""


@contextmanager
def local(work: Path) -> Iterator[Mounts]:
    """The control: one folder of the local disk, used twice."""
    folder = work / "folder"
    folder.mkdir()
    yield Mounts(folder, folder, folder)


@contextmanager
def bindfs(work: Path) -> Iterator[Mounts]:
    """Two FUSE mounts of a local folder. A lock in one does not reach the other."""
    need("bindfs", "umount")
    folder = work / "folder"
    folder.mkdir()
    with (
        mounted(work, work / "a", "bindfs", "-f", folder, work / "a") as client,
        mounted(work, work / "b", "bindfs", "-f", folder, work / "b"),
    ):
        yield Mounts(work / "a", work / "b", folder, client)


@contextmanager
def gluster(work: Path) -> Iterator[Mounts]:
    """GlusterFS: one brick, and two clients with the translators of a default volume."""
    need("glusterfs", "glusterfsd", "umount")
    with brick_folder(work) as folder:
        brick = Brick(work, folder)
        with (
            running(work, "brick", *brick.command) as server,
            brick.ready(server),
            mounted(work, work / "a", *brick.client_command(work / "a")),
            mounted(work, work / "b", *brick.client_command(work / "b")),
        ):
            yield Mounts(work / "a", work / "b", folder, server)


@contextmanager
def moosefs(work: Path) -> Iterator[Mounts]:
    """MooseFS: a master, a chunk server, two clients, and a third client without caches."""
    need("mfsmaster", "mfschunkserver", "mfsmount", "umount", "ip")
    with second_loopback() as host, _moosefs(work, MooseMaster(work, host)) as mounts:
        yield mounts


@contextmanager
def _moosefs(work: Path, moose: MooseMaster) -> Iterator[Mounts]:
    with (
        running(work, "master", *moose.command) as master,
        moose.ready(master),
        running(work, "chunks", *moose.chunks_command) as chunks,
        mounted(work, work / "behind", *moose.client_command(work / "behind", cached=False)),
        mounted(work, work / "a", *moose.client_command(work / "a")),
        mounted(work, work / "b", *moose.client_command(work / "b")),
    ):
        moose.wait_for_space(work / "behind", chunks)
        yield Mounts(work / "a", work / "b", work / "behind", master)


@contextmanager
def sshfs(work: Path) -> Iterator[Mounts]:
    """SSHFS: two SFTP mounts from one sshd. A lock in one does not reach the other."""
    need("sshd", "ssh-keygen", "sshfs", "umount")
    ssh = SshServer(work)
    with (
        running(work, "sshd", *ssh.command) as server,
        ssh.ready(server),
        mounted(work, work / "a", *ssh.client_command(work / "a")),
        mounted(work, work / "b", *ssh.client_command(work / "b")),
    ):
        yield Mounts(work / "a", work / "b", ssh.folder, server)


FILE_SYSTEMS: dict[str, FileSystem] = {
    "local": local,
    "gluster": gluster,
    "moosefs": moosefs,
    "sshfs": sshfs,
    "bindfs": bindfs,
}
LOCKS_REACH = {"local", "gluster", "moosefs"}
"""The file systems on which a lock through one mount is seen through the other."""
