"""The servers of network file systems, each with its own configuration, data and port of loopback."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.support.processes import free_port
from tests.volumes.programs import Program, listens, run, unmount, wait_for

IMAGE_BYTES = 4 << 30
"""The size of the disk image; it is sparse."""
# The configuration that `gluster volume create` writes for a volume of one brick, without the brick's translators that
# are off by default. The management daemon is left out: it accepts no brick on loopback, and uses fixed ports.
BRICK = """
volume posix
    type storage/posix
    option directory {folder}
end-volume
volume access-control
    type features/access-control
    subvolumes posix
end-volume
volume locks
    type features/locks
    subvolumes access-control
end-volume
volume leases
    type features/leases
    option leases off
    subvolumes locks
end-volume
volume upcall
    type features/upcall
    option cache-invalidation off
    subvolumes leases
end-volume
volume threads
    type performance/io-threads
    subvolumes upcall
end-volume
volume index
    type features/index
    option index-base {folder}/.glusterfs/indices
    subvolumes threads
end-volume
volume brick
    type debug/io-stats
    subvolumes index
end-volume
volume server
    type protocol/server
    option transport-type tcp
    option transport.address-family inet
    option transport.socket.bind-address 127.0.0.1
    option transport.socket.listen-port {port}
    option auth.addr.brick.allow 127.0.0.1
    subvolumes brick
end-volume
"""
CLIENT = """
volume client
    type protocol/client
    option transport-type tcp
    option transport.address-family inet
    option remote-host 127.0.0.1
    option remote-port {port}
    option remote-subvolume brick
    option ping-timeout 42
    option send-gids true
    option strict-locks off
end-volume
volume distribute
    type cluster/distribute
    option force-migration off
    option lock-migration off
    subvolumes client
end-volume
volume utime
    type features/utime
    option noatime on
    subvolumes distribute
end-volume
volume write-behind
    type performance/write-behind
    subvolumes utime
end-volume
volume open-behind
    type performance/open-behind
    subvolumes write-behind
end-volume
volume quick-read
    type performance/quick-read
    subvolumes open-behind
end-volume
volume md-cache
    type performance/md-cache
    subvolumes quick-read
end-volume
volume io-threads
    type performance/io-threads
    subvolumes md-cache
end-volume
volume models
    type debug/io-stats
    subvolumes io-threads
end-volume
"""


class Listening:
    """A server that is ready as soon as its port accepts connections."""

    def __init__(self, work: Path, name: str, host: str = "127.0.0.1") -> None:
        self.host = host
        self.port = free_port()
        self._output = work / f"{name}.out"

    @contextmanager
    def ready(self, process: Program) -> Iterator[None]:
        """Wait until the server is ready; raises CannotMount."""
        wait_for(process, lambda: listens(self.host, self.port), self._output)
        yield


class Brick(Listening):
    """GlusterFS: one brick and its clients."""

    def __init__(self, work: Path, folder: Path) -> None:
        super().__init__(work, "brick")
        self._work = work
        (folder / ".glusterfs/indices").mkdir(parents=True)
        (work / "brick.vol").write_text(BRICK.format(folder=folder, port=self.port))
        (work / "client.vol").write_text(CLIENT.format(port=self.port))
        self.command = ("glusterfsd", "--no-daemon", "-f", work / "brick.vol", "-l", work / "brick.log")

    def client_command(self, mount_point: Path) -> tuple[object, ...]:
        """Return the command that mounts the brick."""
        log = self._work / f"{mount_point.name}.log"
        return "glusterfs", "--no-daemon", "-f", self._work / "client.vol", "-l", log, mount_point


@contextmanager
def brick_folder(work: Path) -> Iterator[Path]:
    """Create a folder for a brick, on a disk image if the local file system keeps no `trusted` attributes."""
    folder = work / "disk/brick"
    folder.mkdir(parents=True)
    try:
        os.setxattr(folder, "trusted.probe", b"1")
        os.removexattr(folder, "trusted.probe")
    except OSError:
        image = work / "disk.img"
        with image.open("wb") as file:
            file.truncate(IMAGE_BYTES)
        run("mkfs.ext4", "-q", image)
        run("mount", "-o", "loop", image, work / "disk")
        try:
            folder.mkdir()
            yield folder
        finally:
            unmount(work / "disk")
    else:
        yield folder


@contextmanager
def second_loopback() -> Iterator[str]:
    """Add an address to the loopback interface that is not 127.*: MooseFS refuses 127.0.0.1 for chunk servers."""
    address = f"10.231.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}"
    run("ip", "address", "add", f"{address}/32", "dev", "lo")
    try:
        yield address
    finally:
        run("ip", "address", "delete", f"{address}/32", "dev", "lo")


class MooseMaster(Listening):
    """MooseFS: a master, a chunk server and the clients."""

    def __init__(self, work: Path, host: str) -> None:
        super().__init__(work, "master", host)
        for name in ("metadata", "chunks-state", "chunks"):
            (work / name).mkdir()
        (work / "metadata/metadata.mfs").write_bytes(b"MFSM NEW")  # the metadata of an empty volume
        (work / "exports.cfg").write_text("* / rw,alldirs,maproot=0\n")
        (work / "topology.cfg").touch()
        (work / "disks.cfg").write_text(f"{work}/chunks\n")
        own, chunk_port = "WORKING_USER = root\nWORKING_GROUP = root\n", free_port()
        ports = {"MATOML": free_port(), "MATOCS": chunk_port, "MATOCL": self.port}
        (work / "master.cfg").write_text(
            f"{own}DATA_PATH = {work}/metadata\nEXPORTS_FILENAME = {work}/exports.cfg\n"
            f"TOPOLOGY_FILENAME = {work}/topology.cfg\n"
            + "".join(f"{of}_LISTEN_HOST = {host}\n{of}_LISTEN_PORT = {port}\n" for of, port in ports.items())
        )
        (work / "chunks.cfg").write_text(
            f"{own}DATA_PATH = {work}/chunks-state\nHDD_CONF_FILENAME = {work}/disks.cfg\n"
            f"MASTER_HOST = {host}\nMASTER_PORT = {chunk_port}\n"
            f"CSSERV_LISTEN_HOST = {host}\nCSSERV_LISTEN_PORT = {free_port()}\n"
        )
        self.command = ("mfsmaster", "-f", "-c", work / "master.cfg", "start")
        self.chunks_command = ("mfschunkserver", "-f", "-c", work / "chunks.cfg", "start")

    def client_command(self, mount_point: Path, *, cached: bool = True) -> tuple[object, ...]:
        """Return the command that mounts MooseFS, with the default caches or without caches."""
        caches = ("attr", "entry", "direntry", "negentry")
        options = [] if cached else ["-o", ",".join(f"mfs{cache}cacheto=0" for cache in caches)]
        return "mfsmount", "-f", "-H", self.host, "-P", self.port, *options, mount_point

    def wait_for_space(self, mount_point: Path, chunks: Program) -> None:
        """Wait until the chunk server can take a file; raises CannotMount."""

        def has_space() -> bool:
            status = os.statvfs(mount_point)
            return status.f_bavail > 0

        wait_for(chunks, has_space, self._output.with_name("chunks.out"))


class SshServer(Listening):
    """An sshd with its own keys, and its clients."""

    def __init__(self, work: Path) -> None:
        super().__init__(work, "sshd")
        self._work = work
        self.folder = work / "folder"
        self.folder.mkdir()
        for key in ("host", "user"):
            run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", work / f"{key}.key")
        Path("/run/sshd").mkdir(exist_ok=True)  # sshd needs this folder for privilege separation
        (work / "sshd.cfg").write_text(
            f"ListenAddress 127.0.0.1\nPort {self.port}\nHostKey {work}/host.key\nPidFile none\n"
            f"AuthorizedKeysFile {work}/user.key.pub\nStrictModes no\nUsePAM no\nPasswordAuthentication no\n"
            "PermitRootLogin prohibit-password\nSubsystem sftp internal-sftp\n"
        )
        self.command = ("/usr/sbin/sshd", "-D", "-e", "-f", work / "sshd.cfg")

    def client_command(self, mount_point: Path) -> tuple[object, ...]:
        """Return the command that mounts the folder."""
        options = f"port={self.port},IdentityFile={self._work}/user.key,StrictHostKeyChecking=no"
        return (
            "sshfs",
            "-f",
            "-o",
            f"{options},UserKnownHostsFile=/dev/null",
            f"root@127.0.0.1:{self.folder}",
            mount_point,
        )
