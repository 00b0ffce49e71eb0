"""Builds the image with buildah, on a minimal Debian 12 in place of the official base image.

    python deploy/image_build.py ARCHIVE

The substitute has Debian's Python. debootstrap creates it and build/image keeps it. As a program this writes the image
to ARCHIVE, a new file that `docker load` reads as ocr-model-service:latest, and removes everything but the substitute.
"""

import configparser
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "image"
DEBIAN = "bookworm"
BASE = "localhost/python:3.11-slim-bookworm"
IMAGE = "localhost/ocr-model-service:check"
REBUILT = "localhost/ocr-model-service:rebuilt"
CONTEXT = (
    ".dockerignore",
    "Dockerfile",
    "LICENSE",
    "requirements.lock",
    "requirements-sbom.lock",
    "app",
    "deploy",
    "docs",
)
"""What the build reads of the checkout."""
LABELS = {
    "VERSION": "1.2.3",
    "REVISION": "0123abc",
    "SOURCE": "https://example.test/ocr",
    "CREATED": "2026-01-02T03:04:05Z",
}
"""The values of the build arguments that become labels."""
TIMESTAMP = int(datetime.fromisoformat(LABELS["CREATED"]).timestamp())
"""The time of the image and of each file in it, as `make image` gives it: the commit's."""


class CheckFailed(Exception):
    """The image does not do what it should."""


def main() -> None:
    """Build the image and write the archive."""
    if len(sys.argv) != 2 or os.geteuid() != 0:
        sys.exit("usage, as root: python deploy/image_build.py ARCHIVE")
    install_tools()
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        prepare_base()
        build()
        buildah("push", "--quiet", IMAGE, f"docker-archive:{sys.argv[1]}:ocr-model-service:latest")
    except CheckFailed as exc:
        sys.exit(f"FAILED: {exc}")
    finally:
        clean_up()


def install_tools() -> None:
    """Install buildah and debootstrap if they are missing."""
    if missing := [name for name in ("buildah", "debootstrap") if not shutil.which(name)]:
        run("apt-get", "update")
        run("apt-get", "install", "--yes", "--no-install-recommends", *missing)


def prepare_base() -> None:
    """Create the substitute for the official Python image, unless it exists."""
    if BASE in image_names():
        return
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        root = Path(folder)
        packages = "ca-certificates,netbase,tzdata,python3.11,python3.11-venv,python3-pip"
        # In a mount namespace, because debootstrap mounts /proc.
        run(
            "unshare", "--mount", "debootstrap", "--variant=minbase", f"--include={packages}", DEBIAN, folder, *mirror()
        )
        for name in ("python", "python3"):
            (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3.11")
        # Remove the bytecode, which the official image does not have either.
        for cache in list((root / "usr/lib").rglob("__pycache__")):
            shutil.rmtree(cache)
        shutil.rmtree(root / "var/cache/apt")
        container = buildah("from", "scratch")
        buildah("copy", "--quiet", container, folder, "/")
        path = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
        buildah("config", "--env", path, container)
        buildah("commit", "--quiet", "--rm", container, BASE)


def mirror() -> list[str]:
    """Return the URL from which this machine's apt gets Debian 12; empty if apt does not know it."""
    return list(debian_sources().values())[:1]


def debian_sources() -> dict[str, str]:
    """Return the suites of Debian 12 that this machine's apt knows, with their URLs."""
    found = run("apt-get", "indextargets", "--format", "$(CODENAME) $(REPO_URI)", "Created-By: Packages").splitlines()
    pairs = dict(line.split(" ", 1) for line in found)
    return {suite: pairs[suite] for suite in (DEBIAN, f"{DEBIAN}-security") if suite in pairs}


def build(context: Path = ROOT, image: str = IMAGE, *options: str) -> float:
    """Build the Dockerfile with this machine's configuration of pip, apt and npm. Return the seconds."""
    started = time.monotonic()
    arguments = [f"--build-arg={name}={value}" for name, value in LABELS.items()]
    _build(context, "--layers", *arguments, "--tag", image, *options)
    return time.monotonic() - started


@contextmanager
def other_checkout() -> Iterator[Path]:
    """Yield a copy of what the build reads, at another path, with other times, and rights as umask 077 gives them."""
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        for name in CONTEXT:
            source, target = ROOT / name, Path(folder, name)
            if source.is_dir():
                shutil.copytree(
                    source,
                    target,
                    symlinks=True,
                    ignore=shutil.ignore_patterns("__pycache__"),
                    copy_function=shutil.copy,
                )
            else:
                shutil.copy(source, target)
        for path in Path(folder).rglob("*"):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & 0o700)
        yield Path(folder)


def rebuild_with_changed_line() -> float:
    """Build again from a copy in which one line of `app` differs. Return the seconds; the result is not kept."""
    with other_checkout() as folder:
        with Path(folder, "app", "main.py").open("a") as changed:
            changed.write("# a changed line\n")
        return build(folder, REBUILT)


def refusal_of_a_release() -> str:
    """Return what a release build says of the base image without a digest; empty if it accepts the base."""
    try:
        _build(ROOT, "--build-arg=RELEASE=true", "--target=packages")
    except CheckFailed as exc:
        return str(exc)
    return ""


def _build(context: Path, *options: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        files = (*pip_files(Path(folder, "pip.conf")), *apt_files(Path(folder)), *npm_files(Path(folder, "npmrc")))
        volumes = [f"--volume={source}:{target}:ro" for source, target in dict.fromkeys(files)]
        arguments = ("--isolation=chroot", "--format=docker", "--pull-never", f"--build-arg=PYTHON_IMAGE={BASE}")
        arguments += (f"--timestamp={TIMESTAMP}",)
        buildah("build", *arguments, *volumes, *options, str(context))


def pip_files(file: Path) -> Iterator[tuple[str, str]]:
    """Write this machine's configuration of pip to one file. Yield each file that the build needs, and its target."""
    config = configparser.RawConfigParser()
    config.read_dict({"global": {}})
    config.read(["/etc/pip.conf", *(Path.home() / name for name in (".pip/pip.conf", ".config/pip/pip.conf"))])
    for variable, value in os.environ.items():
        if variable.startswith("PIP_"):
            config.set("global", variable.removeprefix("PIP_").lower().replace("_", "-"), value)
    with file.open("w") as written:
        config.write(written)
    yield str(file), "/etc/pip.conf"
    for option in ("cert", "find-links"):
        for path in config.get("global", option, fallback="").split():
            if Path(path).exists():
                yield path, path


def apt_files(folder: Path) -> Iterator[tuple[str, str]]:
    """Write this machine's configuration of apt: its proxy, and the sources of Debian and its security updates."""
    ways = [line for line in run("apt-config", "dump", "Acquire").splitlines() if "Proxy" in line or "CaInfo" in line]
    (folder / "apt.conf").write_text("\n".join(ways) + "\n")
    yield str(folder / "apt.conf"), "/etc/apt/apt.conf.d/99machine"
    lines = [f"deb {uri} {suite} main\n" for suite, uri in debian_sources().items()]
    (folder / "sources.list").write_text("".join(lines))
    yield str(folder / "sources.list"), "/etc/apt/sources.list"


def npm_files(file: Path) -> Iterator[tuple[str, str]]:
    """Write this machine's configuration of npm, if npm is installed."""
    if not shutil.which("npm"):
        return
    lines = [f"registry={run('npm', 'config', 'get', 'registry')}"]
    if Path(authority := run("npm", "config", "get", "cafile")).is_file():
        lines.append(f"cafile={authority}")
        yield authority, authority
    users = Path(run("npm", "config", "get", "userconfig"))
    if users.is_file():
        lines += [line for line in users.read_text().splitlines() if line.startswith("//")]  # credentials
    file.write_text("\n".join(lines) + "\n")
    yield str(file), "/root/.npmrc"


def clean_up() -> None:
    """Remove every container and every image but the substitute of the base image."""
    buildah("rm", "--all")
    # One at a time: equal images are one image with several names, which may all go at once.
    while names := [name for name in image_names() if name != BASE]:
        buildah("rmi", "--force", names[0])
    buildah("rmi", "--force", "--prune")


def mounted(image: str) -> Path:
    """Mount an image and return the path of its files."""
    return Path(buildah("mount", buildah("from", "--pull-never", image)))


def image_config() -> dict[str, Any]:
    """Return the configuration with which Docker would run the image."""
    return dict(image_details(IMAGE)["Docker"]["config"])


def image_details(image: str) -> dict[str, Any]:
    """Return what buildah knows of an image."""
    return dict(json.loads(buildah("inspect", "--type=image", image)))


def image_names() -> list[str]:
    """Return the names of all images."""
    images = json.loads(buildah("images", "--json") or "[]")
    return [name for image in images for name in image.get("names") or []]


def buildah(*arguments: str) -> str:
    """Run buildah with its own storage and return the output."""
    storage = ("--root", str(WORK / "storage"), "--runroot", str(WORK / "run"), "--storage-driver", storage_driver())
    return run("buildah", *storage, *arguments)


@cache
def storage_driver() -> str:
    """Return `overlay` if this machine can mount one below build/image, else `vfs`, which copies each layer whole."""
    with tempfile.TemporaryDirectory(dir=WORK) as folder:
        lower, upper, work, merged = (Path(folder, name) for name in ("lower", "upper", "work", "merged"))
        for path in (lower, upper, work, merged):
            path.mkdir()
        options = f"lowerdir={lower},upperdir={upper},workdir={work}"
        command = ["unshare", "--mount", "mount", "-t", "overlay", "overlay", "-o", options, str(merged)]
        done = subprocess.run(command, capture_output=True, check=False)
    return "vfs" if done.returncode else "overlay"


def run(*command: str) -> str:
    """Run a program and return its output. If it fails, show all of its output."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


if __name__ == "__main__":
    main()
