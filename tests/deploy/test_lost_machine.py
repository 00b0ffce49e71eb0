"""A replica's machine is lost behind the sample of HAProxy, in a network namespace."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.deploy.files import ROOT
from tests.support.deployed.proxies import are_installed

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not are_installed(), reason="nginx and haproxy are not installed; .ci/run installs them"),
    pytest.mark.skipif(
        os.getuid() != 0 or not all(map(shutil.which, ("ip", "iptables", "unshare"))),
        reason="iproute2 and iptables are not installed, or the user is not root; .ci/run installs them",
    ),
]


def test_a_get_in_flight_is_answered_by_the_other_replica() -> None:
    """HAProxy notices by the kernel's probes that the machine is gone, within half a minute, and asks the other one."""
    command = [
        sys.executable,
        "-m",
        "tests.support.deployed.lost_machine",
        str(ROOT / "deploy" / "proxy" / "haproxy.cfg"),
    ]
    ran = subprocess.run(["unshare", "--net", *command], check=True, capture_output=True, text=True, timeout=300)
    lost, status, answered = ran.stdout.split()
    assert status == "200", ran
    assert {lost, answered} == {"8001", "8002"}
