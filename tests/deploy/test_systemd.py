"""The unit of deploy/systemd, installed by the commands of docs/systemd.md on a machine that systemd has booted."""

import contextlib
import os
import re
import shlex
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest

from app.engine.process.memory_limits import share_of_container
from app.settings import Settings
from tests.deploy.files import SYSTEMD
from tests.support.clients.consoles import steps
from tests.support.deployed.booted import Machine, booted
from tests.support.files.pictures import encoded, page
from tests.support.processes import free_port
from tests.support.service import ROOT
from tests.support.skips import ELSEWHERE
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason=f"{ELSEWHERE}only root can boot one"),
]

UNIT = SYSTEMD / "ocr-models.service"
PAGE = (ROOT / "docs" / "systemd.md").read_text()
COMMANDS = [command for command, _ in steps(PAGE)]
UNTRIED = ("apt-get ", "python3 -m venv ", ".venv/bin/python -m pip ", ".venv/bin/python -m app provision")
FIRST_PORT = "8000"
LOG = "journalctl --no-pager --output cat _SYSTEMD_INVOCATION_ID=$(systemctl show --value -p InvocationID ocr-models)"
"""Prints the log of the service since its last start."""
WORST_SCORE = 15
"""Ten times the worst rating by `systemd-analyze security` that is allowed."""


@dataclass(frozen=True)
class Installed:
    """A machine on which the commands before a heading of the page were run, and the running service."""

    machine: Machine
    client: httpx.Client
    key: str

    def property(self, name: str) -> str:
        """Return a property of the unit."""
        return self.machine.run(f"systemctl show --value --property {name} ocr-models").stdout.strip()

    def service(self) -> psutil.Process:
        """Return the process of the service, by this machine's process id."""
        for process in psutil.Process(self.machine.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.cmdline()[-3:] == ["-m", "app", "serve"]:
                    return process  # its children come later, and have its command for a moment
        raise AssertionError(self.machine.run(LOG).stdout)

    def start(self) -> None:
        """Start the service, unless it runs, and wait until its engine is ready."""
        self.machine.run("systemctl start ocr-models")
        eventually(self.is_ready, within=60)

    def is_ready(self) -> bool:
        """Return whether the engine is ready."""
        try:
            return self.client.get("/readyz").status_code == 200
        except httpx.TransportError:
            return False


def engine_of(service: psutil.Process) -> int:
    """Return the process id of the service's engine, or 0 if there is none."""
    for child in service.children():
        with contextlib.suppress(psutil.NoSuchProcess):
            if "app.engine.child.worker" in child.cmdline():
                return child.pid
    return 0


def commands_below(heading: str) -> list[str]:
    """Return the commands in one section of the page that can be tried."""
    section = PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return [command for command, _ in steps(section) if not command.startswith(UNTRIED)]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installed]:
    """Boot a machine and run the commands of the section Install, on a free port instead of 8000."""
    port = str(free_port())
    with booted(tmp_path_factory.mktemp("machine")) as machine, httpx.Client(timeout=300) as client:
        key = ""
        for command in commands_below("Install"):
            done = machine.run(command.replace(FIRST_PORT, port))
            if "settings.env" in command:
                machine.run(f"sed -i s/{FIRST_PORT}/{port}/ /etc/ocr-models/settings.env")
            if "keys create" in command:
                key = done.stdout.strip()
        client.base_url = httpx.URL(f"http://127.0.0.1:{port}")
        client.headers["Authorization"] = f"Bearer {key}"
        yield Installed(machine, client, key)


def test_the_unit_is_as_restricted_as_the_page_says() -> None:
    """`systemd-analyze security` rates the unit at most WORST_SCORE / 10, and as the page says."""
    options = ["--offline=yes", f"--threshold={WORST_SCORE}", "--no-pager"]
    command = ["systemd-analyze", "security", *options, str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    score = re.search(r"exposure level for \S+: ([\d.]+)", done.stdout)
    assert score
    assert f"rates the unit {score[1]} " in PAGE
    assert f"a test requires at most\n{WORST_SCORE / 10}" in PAGE


def test_the_unit_waits_longer_than_a_shutdown_takes() -> None:
    """TimeoutStopSec= covers OCR_DRAIN_TIME and OCR_SHUTDOWN_GRACE."""
    fields = Settings.model_fields
    longest = (fields["drain_time"].default + fields["shutdown_grace"].default).total_seconds()
    found = re.search(r"^TimeoutStopSec=(\d+)$", UNIT.read_text(), re.MULTILINE)
    assert found
    assert int(found[1]) > longest


def test_every_command_of_the_page_is_tried_or_said_to_be_untried(installed: Installed) -> None:
    """The sections whose commands the tests run have all commands of the page but those of one block, which says so."""
    tried = [command for heading in ("Install", "A licence", "Operate") for command in commands_below(heading)]
    untried = [command for command in COMMANDS if command.startswith(UNTRIED)]
    assert sorted([*tried, *untried]) == sorted(COMMANDS)
    (block,) = [found for found in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) if "apt-get" in found]
    assert len(block.splitlines()) == len(untried)
    assert "not tried in this form" in PAGE.partition(block)[0].rpartition("\n\n```")[0].rpartition("\n\n")[2]


def test_the_service_runs_as_restricted_as_the_unit_says(installed: Installed) -> None:
    """Service and engine run as the unit's user, without capabilities, with filtered calls, on a read-only root."""
    installed.start()
    service = installed.service()
    family = [service, *service.children(recursive=True)]
    assert len(family) > 1
    uid = installed.machine.run("id --user ocr-models").stdout.strip()
    for process in family:
        lines = Path(f"/proc/{process.pid}/status").read_text().splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert set(status["Uid"].split()) == {uid}
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    mounts = [line.split() for line in Path(f"/proc/{service.pid}/mountinfo").read_text().splitlines()]
    writable = {mount[4] for mount in mounts if mount[5].split(",")[0] == "rw"}
    assert {path for path in writable if path.startswith(("/var/lib/", "/opt", "/etc", "/usr"))} == {
        "/var/lib/ocr-models"
    }
    assert installed.client.get("/readyz?verbose").json()["checks"]


def test_the_limit_of_the_unit_is_the_engine_s(installed: Installed) -> None:
    """The engine may hold its share of MemoryMax=."""
    installed.start()
    limit_bytes = int(installed.property("MemoryMax"))
    engine = installed.client.get("/engine").raise_for_status().json()
    assert engine["memory_limit_bytes"] == share_of_container(limit_bytes)


@pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1")
def test_a_page_is_read_and_a_model_kept(installed: Installed) -> None:
    """The engine reads a page under all restrictions, and a model that is uploaded is in the state directory."""
    installed.start()
    picture = encoded("image/png", page("The harbour was quiet", "when the first boats", "came home from the storm"))
    read = installed.client.post("/ocr", content=picture, headers={"Content-Type": "image/png"})
    assert read.status_code == 200, read.text
    assert read.json()["pages"][0]["text"].startswith("The harbour")

    stored = installed.client.put("/models/new.bin", content=b"a model", headers={"If-None-Match": "*"})
    assert stored.status_code == 201, stored.text
    assert installed.machine.run("cat /var/lib/ocr-models/models/new.bin").stdout == "a model"


def test_a_killed_engine_leaves_the_service_running(installed: Installed) -> None:
    """systemd does not stop the service when its engine is killed; the service starts another engine."""
    installed.start()
    service = installed.service()
    engine = engine_of(service)
    assert engine
    os.kill(engine, signal.SIGKILL)
    eventually(lambda: engine_of(service) not in {0, engine}, within=60)
    eventually(installed.is_ready, within=60)
    assert installed.service().pid == service.pid
    assert installed.property("ActiveState") == "active"


def test_a_licence_is_a_credential_of_the_service(installed: Installed) -> None:
    """The commands of the page give the service a licence file that only root may read.

    The file here is none, which the service reports, or refuses to start with.
    """
    installed.machine.run("echo no licence > /etc/ocr-models/Aspose.OCR.lic")
    try:
        for command in commands_below("A licence"):
            installed.machine.run(command)
        path = "/run/credentials/ocr-models.service/Aspose.OCR.lic"
        assert f"OCR_LICENSE_FILE={path}" in shlex.split(installed.property("Environment"))
        eventually(lambda: path in installed.machine.run(LOG).stdout, within=60)
        assert "cannot be read" not in installed.machine.run(LOG).stdout
    finally:
        installed.machine.run("rm /etc/systemd/system/ocr-models.service.d/license.conf; systemctl daemon-reload")


def test_the_commands_of_operation_work(installed: Installed) -> None:
    """The commands restart the service, show its log, and stop it; it ends with status 0 and leaves nothing running."""
    for command in commands_below("Operate"):
        done = installed.machine.run(command)
        if command.startswith("systemctl restart"):
            eventually(installed.is_ready, within=60)
        if command.startswith("journalctl"):
            assert '"event": "engine.ready"' in done.stdout
    assert installed.property("ActiveState") == "inactive"
    assert (installed.property("Result"), installed.property("ExecMainStatus")) == ("success", "0")
    assert installed.machine.run("ls -A /var/lib/ocr-models/work").stdout.split() == []


def test_a_wrong_setting_is_not_tried_again(installed: Installed) -> None:
    """After a start with a wrong setting the unit has failed with status 2, and is not started again."""
    file = "/etc/systemd/system/ocr-models.service.d/wrong.conf"
    text = "[Service]\\nEnvironment=OCR_TRASH_RETENTION=\\nEnvironment=OCR_LOG_LEVEL=loud\\n"
    installed.machine.run(f"mkdir -p $(dirname {file}); printf '{text}' > {file}; systemctl daemon-reload")
    try:
        installed.machine.run("systemctl restart ocr-models")
        eventually(lambda: installed.property("ActiveState") == "failed", within=60)
        assert (installed.property("ExecMainStatus"), installed.property("NRestarts")) == ("2", "0")
        assert "OCR_LOG_LEVEL" in installed.machine.run("journalctl --no-pager --unit ocr-models --output cat").stdout
    finally:
        installed.machine.run(f"rm {file}; systemctl daemon-reload; systemctl reset-failed ocr-models")
