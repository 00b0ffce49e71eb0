"""checkov finds nothing in the Kubernetes manifests but what the manifests argue for."""

import fcntl
import hashlib
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.files import of_kind, write_site
from tests.support.deployed import kubectl
from tests.support.service import ROOT

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

LOCK = Path(__file__).with_name("checkov.lock")
TOOLS = ROOT / "build" / "tools"
ARGUED = {"CKV_K8S_11"}
"""The checks that the manifests skip, each with a reason in an annotation."""
OVERLAYS = ("single", "shared", "cluster")
SEEDED = "seeded.yaml"
"""The file of manifests with a defect."""


def checkov() -> Path:
    """Return the path of checkov. The first call installs it, with the packages of its lock file, in build/tools."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    venv = TOOLS / f"checkov-{hashlib.sha256(LOCK.read_bytes()).hexdigest()[:12]}"
    with (TOOLS / "checkov.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (venv / "complete").exists():
            shutil.rmtree(venv, ignore_errors=True)
            uv = Path(sys.executable).with_name("uv")
            run(uv, "venv", "--quiet", "--python", sys.executable, venv)
            run(uv, "pip", "install", "--quiet", "--python", venv, "--no-build", "--require-hashes", "-r", LOCK)
            (venv / "complete").touch()
    return venv / "bin" / "checkov"


def run(*command: str | Path) -> str:
    """Run a program, which must succeed, and return its output."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Return what checkov says of each overlay with all components, and of one with a defect."""
    folder = tmp_path_factory.mktemp("checkov")
    (folder / "built").mkdir()
    for name in OVERLAYS:
        manifests = kubectl.build(write_site(folder, name))
        (folder / "built" / f"{name}.yaml").write_text(yaml.safe_dump_all(manifests))
    container = of_kind("Deployment", manifests)["spec"]["template"]["spec"]["containers"][0]
    container["securityContext"]["privileged"] = True
    (folder / "built" / SEEDED).write_text(yaml.safe_dump_all(manifests))
    options = ["--framework", "kubernetes", "--skip-download", "--output", "json", "--soft-fail"]
    return json.loads(run(checkov(), "--directory", folder / "built", *options))


def checks(report: Any, result: str, *, seeded: bool = False) -> list[Any]:
    """Return the checks with a result, of the manifests as they are, or of those with the defect."""
    return [each for each in report["results"][f"{result}_checks"] if each["file_path"].endswith(SEEDED) is seeded]


def test_checkov_finds_a_privileged_container(report: Any) -> None:
    """The one defect of the manifests that have one is found, so checkov does check."""
    assert {each["check_id"] for each in checks(report, "failed", seeded=True)} == {"CKV_K8S_16"}


def test_checkov_finds_nothing(report: Any) -> None:
    """No check fails, and no file is unreadable to checkov."""
    failed = [(each["check_id"], each["check_name"], each["resource"]) for each in checks(report, "failed")]
    assert failed == []
    assert report["summary"]["parsing_errors"] == 0
    assert report["summary"]["passed"] > 100


def test_only_what_is_argued_is_skipped(report: Any) -> None:
    """The skipped checks are those of ARGUED, once in each overlay, with a reason."""
    skipped = checks(report, "skipped")
    assert sorted(each["check_id"] for each in skipped) == sorted([*ARGUED] * len(OVERLAYS))
    for each in skipped:
        assert len(each["check_result"]["suppress_comment"]) > 50
