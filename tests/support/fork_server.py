"""Runs commands by fork: a process that has imported the application forks one process for each command.

Imports take most of the start of a service, a second of CPU, and the suite starts hundreds of services and commands. A
forked process runs the same command as `python -m app`; only its imports were made before. `fork_service` and
`run_command` are for the tests; `main` runs in the process that forks, which lives as long as the test process that
started it.
"""

import atexit
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXEC_ONLY = ("LD_", "PYTHON", "LC_", "LANG")
"""The prefixes of variables that a program reads only when it is started, so that a fork would ignore them."""
MAX_MESSAGE_BYTES = 1 << 17


class ForkServer:
    """The process that forks, and the statuses of the services that have ended."""

    def __init__(self) -> None:
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-m", "tests.support.fork_server", str(theirs.fileno())]
            self._process = subprocess.Popen(command, cwd=ROOT, pass_fds=[theirs.fileno()])
        self.environment = exec_only(os.environ)
        self._statuses: dict[int, int] = {}
        self._lock = threading.Lock()
        atexit.register(self._end)

    def fork(self, arguments: Sequence[str], environment: Mapping[str, str], outputs: list[int]) -> int:
        """Fork a process that runs the command line with these arguments. Return its process id.

        `outputs` are the descriptors of its standard output and error, or of its standard error alone.
        """
        message = json.dumps([list(arguments), dict(environment)]).encode()
        with self._lock:
            socket.send_fds(self._control, [message], outputs)
            while True:
                pid, status = self._receive()
                if status is None:
                    return pid

    def status(self, pid: int) -> int | None:
        """Return the exit status of a service, -N if signal N ended it, or None if it runs."""
        with self._lock:
            while select.select([self._control], [], [], 0)[0]:
                self._receive()
            return self._statuses.get(pid)

    def _receive(self) -> tuple[int, int | None]:
        message = self._control.recv(MAX_MESSAGE_BYTES)
        if not message:
            raise RuntimeError("the process that forks services has ended")
        pid, status = json.loads(message)
        if status is None:
            self._statuses.pop(pid, None)  # the number of a process that has ended can be used again
        else:
            self._statuses[pid] = os.waitstatus_to_exitcode(status)
        return pid, status

    def _end(self) -> None:
        self._control.close()
        self._process.wait()


class ForkedProcess:
    """A forked service, with the methods of `subprocess.Popen` that tests use."""

    def __init__(self, server: ForkServer, pid: int) -> None:
        self._server = server
        self.pid = pid
        self.returncode: int | None = None

    def poll(self) -> int | None:
        """Return the exit status, or None while the process runs."""
        if self.returncode is None:
            self.returncode = self._server.status(self.pid)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit status. Raises TimeoutExpired after that many seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if deadline is not None and time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("the forked service", timeout or 0)
            time.sleep(0.005)
        return status

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Send SIGKILL, unless the process has ended."""
        self.send_signal(signal.SIGKILL)


_servers: dict[int, ForkServer] = {}
"""The fork server of this process, by the process id: a fork of a test process needs one of its own."""


def fork_service(arguments: list[str], environment: Mapping[str, str], stderr: int) -> ForkedProcess | None:
    """Fork a process that runs the command line. Return None if the environment has a variable that a fork ignores."""
    server = _server()
    if exec_only(environment) != server.environment:
        return None
    return ForkedProcess(server, server.fork(arguments, environment, [stderr]))


def run_command(arguments: Sequence[str], environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run the command line to its end and return its exit status and output. Raises TimeoutExpired after two minutes.

    If the environment has a variable that a fork ignores, `python -m app` runs as a new program.
    """
    server = _server()
    if exec_only(environment) != server.environment:
        command, env = [sys.executable, "-m", "app", *arguments], dict(environment)
        return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=False, timeout=120)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        forked = ForkedProcess(server, server.fork(arguments, environment, [output.fileno(), errors.fileno()]))
        try:
            status = forked.wait(timeout=120)
        finally:
            forked.kill()
        texts = (os.pread(file.fileno(), 1 << 26, 0).decode() for file in (output, errors))
        return subprocess.CompletedProcess(arguments, status, *texts)


def _server() -> ForkServer:
    """Return the fork server of this process; start it if needed."""
    if (server := _servers.get(os.getpid())) is None:
        server = _servers[os.getpid()] = ForkServer()
    return server


def exec_only(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an environment that only a new program reads."""
    return {name: value for name, value in environment.items() if name.startswith(EXEC_ONLY)}


def main(control: socket.socket) -> None:
    """Fork a process for each request of the control connection, report each end, and end with the connection.

    Returns in each forked process, which then runs its command.
    """
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    gc.freeze()
    while True:
        ready = select.select([control.fileno(), woken], [], [])[0]
        if woken in ready:
            os.read(woken, 4096)
            report_ended(control)
        if control.fileno() in ready:
            message, fds, _, _ = socket.recv_fds(control, MAX_MESSAGE_BYTES, 2)
            if not message:
                os._exit(0)
            if (pid := os.fork()) == 0:
                signal.set_wakeup_fd(-1)
                signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                control.close()
                os.close(woken)
                os.close(wake)
                become(*json.loads(message), outputs=fds)
                return
            for each in fds:
                os.close(each)
            control.send(json.dumps([pid, None]).encode())


def report_ended(control: socket.socket) -> None:
    """Send the process id and the wait status of each child that has ended."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        control.send(json.dumps([pid, status]).encode())


def become(arguments: list[str], environment: dict[str, str], *, outputs: list[int]) -> None:
    """Take the arguments, the environment and the outputs of a command; the last output is the standard error."""
    for number, each in zip((2, 1), reversed(outputs), strict=False):
        os.dup2(each, number)
        os.close(each)
    os.environ.clear()
    os.environ.update(environment)
    time.tzset()
    sys.argv = ["app", *arguments]


if __name__ == "__main__":
    # Imported by the commands only when they run.
    import app.api.jobs.schemas
    import app.cli.backends.service
    import app.cli.serving.http_server  # noqa: F401
    from app.__main__ import main as run_command_line

    main(socket.socket(fileno=int(sys.argv[1])))
    run_command_line()
