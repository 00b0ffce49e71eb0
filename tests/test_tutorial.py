"""The steps of docs/tutorial.md are those of the vendor's package and of the service."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.support.clients.consoles import check_answers, steps
from tests.support.service import ROOT, RunningService

TUTORIAL = (ROOT / "docs" / "tutorial.md").read_text()


def test_each_curl_answers_what_the_tutorial_shows(tmp_path: Path) -> None:
    """Each curl of the tutorial, run in order on a fresh service, returns the answer that the page shows."""
    subprocess.run(["make", "-s", "-f", ROOT / "Makefile", "examples"], cwd=tmp_path, check=True)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    curls = steps(TUTORIAL)
    assert len(curls) >= 15
    with RunningService(tmp_path / "data", native_dir=ROOT / "native") as service:
        check_answers(curls, service.url, tmp_path, lambda _: service.wait_until_ready())


def test_the_vendors_calls_run(tmp_path: Path) -> None:
    """The Python of the tutorial runs as one program, on the vendor's package, without the libraries that it lacks."""
    blocks = re.findall(r"```python\n(.*?)```", TUTORIAL, re.DOTALL)
    assert len(blocks) >= 8
    shutil.copytree(ROOT / "docs", tmp_path / "docs")
    program = "import shutil\nfrom pathlib import Path\nbackup = 'backup'\nHAS_OPENSSL_1_1 = False\n" + "\n".join(
        blocks
    )

    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PATH": "/usr/bin:/bin", "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1", "COMPlus_EnableDiagnostics": "0"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 0, done.stderr
