"""The proxies of deploy/proxy, as the samples configure them, in front of real services on free ports."""

import os
import re
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import httpx

from tests.support.processes import free_port
from tests.support.service import ROOT
from tests.support.waiting import eventually

SAMPLES = ROOT / "deploy" / "proxy"
KINDS = ("nginx", "haproxy")
SBIN = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin"])
REPLICA_PORTS = ("8001", "8002")
FOREGROUND = "daemon off;"
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
"""The kinds of temporary files of nginx."""


class Proxy:
    """A proxy in the foreground, with the sample's configuration. Only ports, paths of files and the user differ."""

    def __init__(
        self, kind: str, folder: Path, replicas: Sequence[int], *, prefix: str = "", reuses: bool = True
    ) -> None:
        """`replicas` are the ports of the services; without a second, that port refuses connections.

        The sample has two replicas; each further one is added as the second one is.

        Without `reuses`, the proxy uses each of its connections to the service for one request, unlike the samples.
        """
        self.kind = kind
        self._folder = Path(tempfile.mkdtemp(dir=folder))
        ports = [*replicas, *(free_port() for _ in range(2 - len(replicas)))]
        self._sample = SAMPLES / ("nginx.conf" if kind == "nginx" else "haproxy.cfg")
        self._text = self._placed(self._sample.read_text(), ports, prefix)
        if not reuses:
            self._text = without_reuse(kind, self._text)
        self._log: IO[bytes] = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._port = 0
        self.process: subprocess.Popen[bytes]
        self.client: httpx.Client

    def __enter__(self) -> "Proxy":
        eventually(self._start, within=60)
        self.client = httpx.Client(base_url=self.url, timeout=120)
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=60)
        self._log.close()

    @property
    def url(self) -> str:
        """The URL that callers use."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def log(self) -> str:
        """What the proxy has printed."""
        return os.pread(self._log.fileno(), 1 << 26, 0).decode()

    def wait_until_ready(self) -> "Proxy":
        """Wait until the proxy has found a ready replica, and return the proxy."""
        eventually(lambda: self.client.get("/readyz").status_code == 200, within=30)
        return self

    def _start(self) -> bool:
        """Start the proxy on a free port. Return False if another program has taken the port meanwhile."""
        self._port = free_port()
        config = self._folder / self._sample.name
        config.write_text(
            self._text.replace("listen 8080;", f"listen 127.0.0.1:{self._port};").replace(
                "bind :8080", f"bind 127.0.0.1:{self._port}"
            )
        )
        command = [program(self.kind), "-db", "-f", str(config)]
        if self.kind == "nginx":
            command = [program(self.kind), "-e", "stderr", "-p", str(self._folder), "-c", str(config), "-g", FOREGROUND]
        self.process = subprocess.Popen(command, stdout=self._log, stderr=self._log)
        try:
            eventually(self._listens_or_ended, within=30)
        except BaseException:
            self.process.kill()
            raise
        assert self.process.poll() is None or "in use" in self.log or "cannot bind" in self.log, self.log
        return self.process.poll() is None

    def _placed(self, text: str, ports: Sequence[int], prefix: str) -> str:
        text = with_more(text, ports[2:])
        for shown, port in zip(REPLICA_PORTS, ports, strict=False):
            assert f"127.0.0.1:{shown}" in text
            text = text.replace(f"127.0.0.1:{shown}", f"127.0.0.1:{port}")
        text = text.replace("/run/nginx.pid", f"{self._folder}/nginx.pid").replace("/var/log/nginx", str(self._folder))
        if self.kind == "nginx":  # files of the user who runs the test
            paths = "".join(f"    {name}_temp_path {self._folder}/{name};\n" for name in TEMPORARY)
            text = text.replace("http {\n", f"http {{\n{paths}", 1)
            text = text.replace("user www-data;", "user root;" if os.geteuid() == 0 else "")
        return with_prefix(self.kind, text, prefix) if prefix else text

    def _listens_or_ended(self) -> bool:
        if self.process.poll() is not None:
            return True
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0


def with_more(text: str, ports: Sequence[int]) -> str:
    """Return the sample with further replicas: the lines of the second one are repeated for each."""
    second, lines = f"127.0.0.1:{REPLICA_PORTS[1]}", list[str]()
    for line in text.splitlines(keepends=True):
        lines.append(line)
        if second in line:  # `two` is HAProxy's name of the second
            lines += [line.replace(second, f"127.0.0.1:{port}").replace("two", f"more-{port}") for port in ports]
    return "".join(lines)


def with_prefix(kind: str, text: str, prefix: str) -> str:
    """Return the sample with its block of comments for a path prefix in place of the line or block above it."""
    assert "/models-api" in text
    if kind == "nginx":
        text = text.replace("        location / {\n            proxy_pass http://ocr;\n        }\n", "", 1)
        text = re.sub(r"# (location /models-api/ \{)\n( *)#( +proxy_pass http://ocr;)\n( *)# (\})", r"\1\n\3\n\5", text)
    else:
        text = text.replace("    default_backend replicas\n", "", 1)
        text = text.replace("# use_backend", "use_backend")
    return text.replace("/models-api", prefix)


def without_reuse(kind: str, text: str) -> str:
    """Return the sample with a proxy that asks the service to close each connection after its answer."""
    reused, closed = {
        "nginx": ('proxy_set_header Connection "";', 'proxy_set_header Connection "close";'),
        "haproxy": ("    option httplog\n", "    option httplog\n    option http-server-close\n"),
    }[kind]
    assert reused in text
    return text.replace(reused, closed)


def program(name: str) -> str:
    """Return the path of a proxy's program, which .ci/run installs."""
    found = shutil.which(name, path=SBIN)
    assert found, f"{name} is not installed: apt-get install {name}"
    return found


def are_installed() -> bool:
    """Return whether both proxies are installed; .ci/run installs them."""
    return all(shutil.which(kind, path=SBIN) for kind in KINDS)
