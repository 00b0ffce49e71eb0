"""Tools from npm at exact versions, which tests install for themselves."""

import subprocess
from pathlib import Path


def install(folder: Path, *packages: str) -> Path:
    """Install packages, such as `axe-core@4.14.1`, below a folder, without their scripts. Return node_modules."""
    run = subprocess.run(
        ["npm", "install", "--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--prefix", folder, *packages],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return folder / "node_modules"
