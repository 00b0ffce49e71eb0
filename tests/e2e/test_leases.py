"""Leases of other programs, taken by `models lease`: every service refuses to delete the model and names its user."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.support.service import ROOT, RunningService
from tests.support.waiting import eventually

Hold = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def hold(replicas: list[RunningService]) -> Iterator[Hold]:
    """Run commands under a lease of a.bin."""
    with ExitStack() as running:

        def start(*command: str) -> subprocess.Popen[bytes]:
            process = subprocess.Popen(
                [sys.executable, "-m", "app", "models", "lease", "a.bin", "--", *command],
                cwd=ROOT,
                env=os.environ | {"OCR_MODELS_DIR": str(replicas[0].models_dir)},
                stdin=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
            running.callback(process.communicate)
            running.callback(process.kill)
            return process

        yield start


@pytest.fixture
def services(replicas: list[RunningService]) -> list[RunningService]:
    """Return two services on one folder with a model."""
    (replicas[0].models_dir / "a.bin").write_bytes(b"a")
    for service in replicas:
        eventually(lambda service=service: service.client.get("/models").json()["count"] == 1)
    return replicas


def blockers(service: RunningService) -> list[dict[str, object]]:
    """Return the blockers of a.bin that a service shows."""
    return list(service.client.get("/models/a.bin").json()["blockers"])


def test_every_service_names_the_user_of_a_model(services: list[RunningService], hold: Hold) -> None:
    """While a command holds a lease, every service answers 409 and names the process; afterwards the model can go."""
    holder = hold("sh", "-c", "cat; exit 7")
    eventually(lambda: blockers(services[0]))

    for service in services:
        refused = service.client.delete("/models/a.bin")
        assert (refused.status_code, refused.json()["blockers"]) == (409, blockers(service))
        (blocker,) = refused.json()["blockers"]
        assert (blocker["kind"], blocker["pid"], blocker["holder"]) == ("command", holder.pid, "sh -c cat; exit 7")
        eventually(lambda service=service: service.client.get("/models").json()["models"][0]["in_use"])

    holder.communicate()
    assert holder.returncode == 7
    assert blockers(services[1]) == []
    assert services[1].client.delete("/models/a.bin").status_code == 200


def test_a_killed_command_blocks_nothing(services: list[RunningService], hold: Hold) -> None:
    """After the command was killed the model can be deleted at once, and a sweep removes the lease's record."""
    records = services[0].models_dir / ".store/locks/leases"
    before = set(records.glob("*"))  # the services share the folder with other tests, which may have loaded a model
    holder = hold("cat")
    eventually(lambda: blockers(services[0]))
    held = set(records.glob("*")) - before
    holder.kill()
    holder.wait()

    assert services[0].client.delete("/models/a.bin").status_code == 200
    assert held
    # A sweep that took long on a busy machine is followed by a pause 20 times as long.
    eventually(lambda: not any(record.exists() for record in held), within=180)


def test_a_child_of_the_command_keeps_the_lease(services: list[RunningService], hold: Hold, tmp_path: Path) -> None:
    """A child of the command keeps the lease, although the command itself was killed."""
    holder = hold("sh", "-c", f"exec 9<&0; cat <&9 & echo $! > {tmp_path}/child; wait")
    child = int(eventually(lambda: (tmp_path / "child").exists() and (tmp_path / "child").read_text()))
    holder.kill()
    holder.wait()
    try:
        assert services[0].client.delete("/models/a.bin").status_code == 409
    finally:
        os.kill(child, 9)
    eventually(lambda: services[0].client.delete("/models/a.bin").status_code == 200)


def test_a_command_that_cannot_run_leaves_no_lease(services: list[RunningService], hold: Hold) -> None:
    """A missing command exits with 127, as in a shell, and a missing model with 1; neither leaves a lease."""
    records = services[0].models_dir / ".store/locks/leases"
    before = set(records.glob("*"))  # records of commands that other tests have killed
    missing = hold("no-such-command")
    assert missing.communicate()[1] == b"no-such-command: No such file or directory\n"
    assert missing.returncode == 127
    services[0].client.delete("/models/a.bin").raise_for_status()

    gone = hold("true")
    gone.communicate()
    assert gone.returncode == 1
    assert set(records.glob("*")) <= before
