"""Builds the image without Docker, and runs it as the compose file does: read-only, unprivileged, with one volume.

    python deploy/check_image.py

Buildah builds the real Dockerfile. In place of the official base image it uses a minimal Debian 12 with its Python,
which debootstrap creates and build/image keeps. Everything else is removed at the end, also after an error. The script
takes a minute and needs root on Debian, and apt, npm and pip as this machine configures them. It installs buildah and
debootstrap if they are missing.
"""

import configparser
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil

T = TypeVar("T")

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / "build" / "image"
DEBIAN = "bookworm"
BASE = "localhost/python:3.11-slim-bookworm"
IMAGE = "localhost/ocr-model-service:check"
GRACE_SECONDS = 20
READY_SECONDS = 30

# The setup of a container runtime, in a new mount and process namespace, which undo all of it when they end. /dev/shm
# exists as with Docker; /tmp is read-only like the rest.
ENTER = """
root=$1 volume=$2 user=$3; shift 3
mount --bind "$root" "$root"
mount --bind "$volume" "$root/data"
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount -t sysfs -o ro,nosuid,nodev,noexec sysfs "$root/sys"
mount -t tmpfs -o mode=755,size=64k dev "$root/dev"
mkdir "$root/dev/shm"
mount -t tmpfs -o mode=1777,size=64m shm "$root/dev/shm"
ln -s /proc/self/fd "$root/dev/fd"
for name in null zero full random urandom; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mount -o remount,bind,ro "$root/dev"
mount -o remount,bind,ro "$root"
# A change of the user clears the death signal of `unshare --kill-child`, so setpriv sets it again.
exec chroot --userspec="$user" --groups= "$root" setpriv --no-new-privs --pdeathsig=KILL "$@"
"""


class CheckFailed(Exception):
    """The image does not do what it should."""


def main() -> None:
    """Build the image, run and check it, print the results, and clean up."""
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("deploy/check_image.py needs root on Linux: it makes a Debian root and mounts in namespaces.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # an exception, so that `finally` cleans up
    install_tools()
    WORK.mkdir(parents=True, exist_ok=True)
    rows: dict[str, str] = {}
    try:
        prepare_base()
        rows["build"] = f"{build():.0f} s"
        check(rows)
    except CheckFailed as exc:
        sys.exit(f"FAILED: {exc}")
    finally:
        buildah("rm", "--all")
        buildah("rmi", "--force", "--prune")
        if IMAGE in image_names():
            buildah("rmi", "--force", IMAGE)
    for name, value in rows.items():
        print(f"{name:<38}{value}")


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


def build() -> float:
    """Build the Dockerfile with this machine's configuration of pip, apt and npm. Return the seconds."""
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        files = (*pip_files(Path(folder, "pip.conf")), *apt_files(Path(folder)), *npm_files(Path(folder, "npmrc")))
        volumes = [f"--volume={source}:{target}:ro" for source, target in dict.fromkeys(files)]
        arguments = ("--isolation=chroot", "--format=docker", "--pull-never", f"--build-arg=PYTHON_IMAGE={BASE}")
        buildah("build", *arguments, *volumes, "--tag", IMAGE, str(ROOT))
    return time.monotonic() - started


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


def check(rows: dict[str, str]) -> None:
    """Check the image from outside and fill in the table."""
    root, config = mounted(IMAGE), image_config()
    rows["added to the base image"] = megabytes(size_of(root) - size_of(mounted(BASE)))
    rows["of that, the venv"] = megabytes(size_of(root / "opt/venv"))
    rows["of that, the native libraries"] = megabytes(size_of(root / "opt/ocr/native"))
    expect(
        sorted(path.name for path in (root / "srv/ocr").iterdir()) == ["LICENSE", "app"],
        "only the application is in the image",
    )
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        volume = Path(folder)
        shutil.copystat(root / "data", volume)
        os.chown(volume, (root / "data").stat().st_uid, (root / "data").stat().st_gid)
        try:
            with started(root, config, volume, log) as refused:
                expect(refused.wait(timeout=20) == 2, "without keys it refuses to start")
            rows["start without keys"] = "refused"
            check_service(root, config, volume, log, rows)
        except (CheckFailed, subprocess.TimeoutExpired) as exc:
            raise CheckFailed(f"{exc}\n{os.pread(log.fileno(), 1 << 20, 0).decode()}") from exc


def check_service(root: Path, config: dict[str, Any], volume: Path, log: IO[bytes], rows: dict[str, str]) -> None:
    """Start the service without keys on loopback, use it, and stop it."""
    port = free_port()
    begun = time.monotonic()
    ours = {"OCR_HOST": "127.0.0.1", "OCR_PORT": str(port), "OCR_ALLOW_ANONYMOUS": "true"}
    with started(root, config, volume, log, **ours) as container:
        wait_for(lambda: ask(port, "GET", "/livez")[0] == 200)
        rows["until /livez answers"] = f"{time.monotonic() - begun:.2f} s"
        wait_for(lambda: ask(port, "GET", "/readyz")[0] == 200)
        wrong = [check for check in ask(port, "GET", "/readyz?verbose")[1]["checks"] if not check["ok"]]
        expect(not wrong, f"every check of /readyz?verbose is passed: {wrong}")
        rows["until /readyz is 200"] = f"{time.monotonic() - begun:.2f} s"

        service = psutil.Process(container.pid).children()[0]
        family = [service, *service.children(recursive=True)]
        uid = int(config["User"].partition(":")[0])
        expect(any("app.engine.child.worker" in process.cmdline() for process in family), "the engine is a child")
        expect({tuple(process.uids()) for process in family} == {(uid, uid, uid)}, f"all of it runs as {uid}")
        rows["processes, all of them user " + str(uid)] = str(len(family))
        rows["memory of service and engine"] = megabytes(sum(process.memory_full_info().pss for process in family))
        expect(mount_options(service.pid, "/").startswith("ro,"), "the root file system is read-only")

        (volume / "models" / "old_v1.bin").write_bytes(b"no model")
        wait_for(lambda: ask(port, "GET", "/models")[1]["count"] == 1)
        expect(ask(port, "DELETE", "/models/old_v1.bin")[0] == 200, "a model can be deleted")
        expect(ask(port, "GET", "/models")[1]["count"] == 0, "a deleted model is not listed")

        begun = time.monotonic()
        enter = ("nsenter", f"--target={service.pid}", "--mount", "--pid", "--root", f"--setuid={uid}")
        variables = [*config["Env"], *(f"{name}={value}" for name, value in ours.items())]
        run(*enter, "env", "-i", *variables, *config["Healthcheck"]["Test"][1:])
        rows["the health check"] = f"healthy, {time.monotonic() - begun:.2f} s"

        begun = time.monotonic()
        service.send_signal(signal.Signals[config["StopSignal"]])
        expect(container.wait(timeout=GRACE_SECONDS) == 0, f"{config['StopSignal']} ends it with status 0")
        rows["until it ended"] = f"{time.monotonic() - begun:.2f} s"
        expect(not psutil.wait_procs(family, timeout=2)[1], "no process is left")
        expect(not list((volume / "state").glob("engine-*")), "no working directory is left")


@contextmanager
def started(
    root: Path, config: dict[str, Any], volume: Path, log: IO[bytes], **environment: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the image's command as its user and as process 1. All its processes are killed at the end of the block."""
    variables = [*config["Env"], "HOME=/", *(f"{name}={value}" for name, value in environment.items())]
    command = ["env", "-i", "-C", config["WorkingDir"], *variables, *config["Cmd"]]
    # If this script is killed, the container ends too.
    isolate = ["setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child"]
    container = subprocess.Popen(
        [*isolate, "sh", "-euc", ENTER, "sh", str(root), str(volume), config["User"], *command],
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
    )
    try:
        yield container
    finally:
        # Kill process 1, which ends all processes of the namespace. unshare then reaps it.
        inside = psutil.Process(container.pid).children() if container.poll() is None else []
        (inside[0] if inside else container).kill()
        container.wait()


def mounted(image: str) -> Path:
    """Mount an image and return the path of its files."""
    return Path(buildah("mount", buildah("from", "--pull-never", image)))


def image_config() -> dict[str, Any]:
    """Return the configuration with which Docker would run the image."""
    return dict(json.loads(buildah("inspect", "--type=image", IMAGE))["Docker"]["config"])


def image_names() -> list[str]:
    """Return the names of all images."""
    images = json.loads(buildah("images", "--json") or "[]")
    return [name for image in images for name in image.get("names") or []]


def buildah(*arguments: str) -> str:
    """Run buildah with its own storage and return the output."""
    storage = ("--root", str(WORK / "storage"), "--runroot", str(WORK / "run"), "--storage-driver", "vfs")
    return run("buildah", *storage, *arguments)


def run(*command: str) -> str:
    """Run a program and return its output. If it fails, show all of its output."""
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CheckFailed(f"{' '.join(command)}: status {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def ask(port: int, method: str, path: str) -> tuple[int, Any]:
    """Make one request; return the status and the body, or (0, None) if no process listens."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except ConnectionRefusedError:
        return 0, None
    finally:
        connection.close()


def wait_for(probe: Callable[[], T]) -> T:
    """Call `probe` until its result is true, and return the result."""
    deadline = time.monotonic() + READY_SECONDS
    while not (answer := probe()):
        expect(time.monotonic() < deadline, f"it is ready within {READY_SECONDS} s")
        time.sleep(0.01)
    return answer


def expect(fact: object, sentence: str) -> None:
    """Raise CheckFailed unless the fact is true."""
    if not fact:
        raise CheckFailed(f"not true: {sentence}")


def mount_options(pid: int, mount_point: str) -> str:
    """Return the options of a mount, as another process sees it."""
    lines = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    return next(fields[5] for fields in map(str.split, lines) if fields[4] == mount_point)


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def size_of(folder: Path) -> int:
    """Return the bytes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def megabytes(size: int) -> str:
    """Return a size as a text in MB."""
    return f"{size / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
