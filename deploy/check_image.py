"""Builds the image without Docker, and runs it as the compose file does: read-only, unprivileged, with one volume.

    python deploy/check_image.py

`image_build.py` builds the real Dockerfile, `image_run.py` runs the result with a memory limit, as a user without a
name and without capabilities. Everything but the substitute of the base image is removed at the end, also after an
error. The script takes some minutes and needs root on Debian, and apt, npm and pip as this machine configures them. It
installs buildah and debootstrap if they are missing. docs/container.md has the table that it prints.
"""

import http.client
import io
import json
import os
import random
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, TypeVar

import psutil
from compare_builds import MOST_SHOWN, SECOND, build_packages_again, differences, digest
from image_build import (
    BASE,
    IMAGE,
    LABELS,
    ROOT,
    WORK,
    CheckFailed,
    build,
    clean_up,
    image_config,
    install_tools,
    mounted,
    prepare_base,
    rebuild_with_changed_line,
    refusal_of_a_release,
    storage_driver,
)
from image_run import MemoryGroup, capabilities, memory_group, mount_options, run_inside, started
from PIL import Image

T = TypeVar("T")

GRACE_SECONDS = 60
READY_SECONDS = 300
GIB = 1 << 30
LIMIT_BYTES = 4 * GIB
"""The memory limit of deploy/compose.yaml and of the Kubernetes manifests."""
SMALL_LIMIT_BYTES = 1 * GIB
"""A limit that is too small for a page of 600 dots per inch."""
A4_600 = (4960, 7016)
BUDGET = {
    "/opt/venv": 370e6,
    "/opt/ocr/native": 15e6,
    "/opt/ocr/sbom.cdx.json": 1e6,
    "/srv/ocr": 7e6,
    "added to the base image": 405e6,
}
"""The most bytes of each part of the image. Raise a value only with a reason in docs/container.md."""
FORMATS = ("application/json", "application/pdf")
"""The formats to request. Others are written without the packages that are trimmed."""
SETTINGS = {"OCR_HOST": "127.0.0.1", "OCR_ALLOW_ANONYMOUS": "true", "OCR_RECOGNITION_TIMEOUT": "30m"}
"""The settings of the container. The time is for a busy machine."""


def main() -> None:
    """Build the image, run and check it, print the results, and clean up."""
    if sys.platform != "linux" or os.geteuid() != 0:
        sys.exit("deploy/check_image.py needs root on Linux: it makes a Debian root and mounts in namespaces.")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("ended by SIGTERM"))  # an exception, so that `finally` cleans up
    install_tools()
    WORK.mkdir(parents=True, exist_ok=True)
    rows: dict[str, str] = {"storage driver of buildah": storage_driver()}
    try:
        prepare_base()
        expect("@sha256:" in refusal_of_a_release(), "a release build refuses a base image without a digest")
        rows["build"] = f"{build():.0f} s"
        rows["build after one changed line in app/"] = f"{rebuild_with_changed_line():.1f} s"
        begun = time.monotonic()
        build_packages_again(SECOND)
        unequal = differences(IMAGE, SECOND)
        expect(not unequal, "a second build makes the same image\n" + "\n".join(unequal[:MOST_SHOWN]))
        rows["packages and application built again"] = f"the same image, {time.monotonic() - begun:.0f} s"
        rows["digest of the image"] = digest(IMAGE)[:16]
        check(rows)
    except CheckFailed as exc:
        sys.exit(f"FAILED: {exc}")
    finally:
        clean_up()
    for name, value in rows.items():
        print(f"{name:<50}{value}")


def check(rows: dict[str, str]) -> None:
    """Check the image from outside and fill in the table."""
    root, config = mounted(IMAGE), image_config()
    check_files(root, config, rows)
    user = random.SystemRandom().randrange(100_000, 1 << 30)
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        volume = Path(folder)
        made = (root / "data").stat()  # a new volume of Docker has the owner and the rights of the image's folder
        os.chown(volume, made.st_uid, made.st_gid)
        volume.chmod(stat.S_IMODE(made.st_mode))
        try:
            with started(root, config, volume, log, user=user) as refused:
                expect(refused.wait(timeout=READY_SECONDS) == 2, "without keys it refuses to start")
            rows["start without keys"] = "refused"
            with memory_group(LIMIT_BYTES) as group:
                rows["memory limit"] = f"{LIMIT_BYTES // GIB} GiB, by " + (
                    f"a control group, version {group.version}" if group else "OCR_ENGINE_MEMORY_LIMIT and RLIMIT_DATA"
                )
                check_service(Container(root, config, volume, log, user, group, LIMIT_BYTES), rows)
            with memory_group(SMALL_LIMIT_BYTES) as group:
                check_small_limit(Container(root, config, volume, log, user, group, SMALL_LIMIT_BYTES), rows)
        except (CheckFailed, subprocess.SubprocessError) as exc:
            raise CheckFailed(f"{exc}\n{os.pread(log.fileno(), 1 << 20, 0).decode()}") from exc


def check_files(root: Path, config: dict[str, Any], rows: dict[str, str]) -> None:
    """Check what is in the image: its labels, its parts, their sizes and the SBOM."""
    for name, value in LABELS.items():
        expect(config["Labels"][f"org.opencontainers.image.{name.lower()}"] == value, f"the image has the label {name}")
    sizes = {name: size_of(root / name.lstrip("/")) for name in BUDGET if name.startswith("/")}
    sizes["added to the base image"] = size_of(root) - size_of(mounted(BASE))
    for name, size in sizes.items():
        rows[f"size, {name}"] = megabytes(size)
        expect(size <= BUDGET[name], f"{name} has at most {megabytes(int(BUDGET[name]))}: {megabytes(size)}")
    expect(
        sorted(path.name for path in (root / "srv/ocr").iterdir()) == ["LICENSE", "app", "docs"],
        "only the application is in the image",
    )
    sbom = json.loads((root / "opt/ocr/sbom.cdx.json").read_text())
    listed = {
        (each["name"].lower().replace("_", "-").replace(".", "-"), each["version"]) for each in sbom["components"]
    }
    locked = {
        tuple(line.split()[0].split("=="))
        for line in (ROOT / "requirements.lock").read_text().splitlines()
        if line[:1].isalpha() and "sys_platform == 'win32'" not in line and not line.startswith("hf-xet")
    }
    expect(locked <= listed, f"the SBOM lists each locked package: {locked - listed}")
    expect(
        {name for name, _ in listed - locked} == {"libssl1-1", "@node-llama-cpp/linux-x64"}, "and the native libraries"
    )
    rows["components in the SBOM"] = str(len(listed))


class Container:
    """How the service is run: the image, its volume, its user and its memory limit."""

    def __init__(
        self,
        root: Path,
        config: dict[str, Any],
        volume: Path,
        log: IO[bytes],
        user: int,
        group: MemoryGroup | None,
        limit: int,
    ) -> None:
        self.root, self.config, self.volume, self.log, self.user, self.group = root, config, volume, log, user, group
        self.port = free_port()
        self.environment = SETTINGS | {"OCR_PORT": str(self.port)}
        if group is None:
            self.environment["OCR_ENGINE_MEMORY_LIMIT"] = str(limit - limit // 8)

    def start(self) -> AbstractContextManager[subprocess.Popen[bytes]]:
        """Return the context manager that runs the container."""
        return started(
            self.root, self.config, self.volume, self.log, user=self.user, group=self.group, **self.environment
        )

    def recognise(self, body: bytes, accept: str = "application/json", kind: str = "image/png") -> tuple[int, bytes]:
        """Send an image to /ocr. Return the status and the body of the answer."""
        return send(self.port, "POST", "/ocr", body, {"content-type": kind, "accept": accept})


def check_service(container: Container, rows: dict[str, str]) -> None:
    """Start the service without keys on loopback, use it, and stop it."""
    port, user, config = container.port, container.user, container.config
    begun = time.monotonic()
    with container.start() as running:
        wait_for(lambda: ask(port, "GET", "/livez")[0] == 200)
        rows["until /livez answers"] = f"{time.monotonic() - begun:.2f} s"
        wait_for(lambda: ask(port, "GET", "/readyz")[0] == 200)
        wrong = [check for check in ask(port, "GET", "/readyz?verbose")[1]["checks"] if not check["ok"]]
        expect(not wrong, f"every check of /readyz?verbose is passed: {wrong}")
        rows["until /readyz is 200"] = f"{time.monotonic() - begun:.2f} s"
        version = ask(port, "GET", "/version")[1]
        expect(version["sbom_file"] == "/opt/ocr/sbom.cdx.json", f"/version names the SBOM: {version}")

        service = psutil.Process(running.pid).children()[0]
        family = [service, *service.children(recursive=True)]
        expect(any("app.engine.child.worker" in process.cmdline() for process in family), "the engine is a child")
        expect({tuple(process.uids()) for process in family} == {(user,) * 3}, f"all of it runs as {user}")
        expect({tuple(process.gids()) for process in family} == {(0,) * 3}, "all of it runs in group 0")
        expect(set().union(*(capabilities(each.pid) for each in family)) == {"0" * 16}, "no process has a capability")
        rows["processes, of a random user without capabilities"] = str(len(family))
        rows["memory of service and engine, idle"] = megabytes(sum(each.memory_full_info().pss for each in family))
        expect(mount_options(service.pid, "/").startswith("ro,"), "the root file system is read-only")

        (container.volume / "models" / "old_v1.bin").write_bytes(b"no model")
        os.chown(container.volume / "models" / "old_v1.bin", user, 0)
        wait_for(lambda: ask(port, "GET", "/models")[1]["count"] == 1)
        expect(ask(port, "DELETE", "/models/old_v1.bin")[0] == 200, "a model can be deleted")
        expect(ask(port, "GET", "/models")[1]["count"] == 0, "a deleted model is not listed")

        check_recognition(container, rows)
        begun = time.monotonic()
        healthy = run_inside(service, config, user, *config["Healthcheck"]["Test"][1:], **container.environment)
        rows["the health check"] = f"{healthy.strip()}, {time.monotonic() - begun:.2f} s"

        named = run_inside(service, config, user, "ocr-models", "--version", **container.environment)
        expect(named.strip() == f"ocr-models {version['version']}", f"the image has the command ocr-models: {named}")

        family = [service, *service.children(recursive=True)]
        begun = time.monotonic()
        service.send_signal(signal.Signals[config["StopSignal"]])
        expect(running.wait(timeout=GRACE_SECONDS) == 0, f"{config['StopSignal']} ends it with status 0")
        rows["until it ended"] = f"{time.monotonic() - begun:.2f} s"
        expect(not psutil.wait_procs(family, timeout=READY_SECONDS)[1], "no process is left")
        expect(not list((container.volume / "state").glob("engine-*")), "no working directory is left")


def check_recognition(container: Container, rows: dict[str, str]) -> None:
    """Check that the trimmed packages recognise, write documents, and release the engine; then the largest page."""
    sample = small_page()
    begun = time.monotonic()
    for accept in FORMATS:
        status, body = container.recognise(sample, accept)
        expect(status == 200 and body, f"/ocr answers {accept}: {status} {body[:300]!r}")
        rows.setdefault("first recognition, of a few lines", f"{time.monotonic() - begun:.1f} s")
    released = ask(container.port, "POST", "/engine/release")
    expect(released[0] == 200, f"the engine is released: {released}")
    wait_for(lambda: ask(container.port, "GET", "/readyz")[0] == 200)
    begun = time.monotonic()
    status, body = container.recognise(page_of_600_dpi())
    expect(status == 200 and json.loads(body)["text"].strip(), f"A4 at 600 dpi is recognised: {status} {body[:500]!r}")
    rows["A4 at 600 dpi within the limit"] = f"recognised in {time.monotonic() - begun:.0f} s"
    if container.group and (peak := container.group.peak_bytes):
        rows["peak memory of the container"] = megabytes(peak)


def check_small_limit(container: Container, rows: dict[str, str]) -> None:
    """Check that a container of 1 GiB refuses the page of 600 dpi, lives on, and recognises a small page."""
    with container.start() as running:
        wait_for(lambda: ask(container.port, "GET", "/readyz")[0] == 200)
        status, body = container.recognise(page_of_600_dpi())
        expect(status == 507, f"the page is refused for lack of memory: {status} {body[:500]!r}")
        rows[f"A4 at 600 dpi with {SMALL_LIMIT_BYTES // GIB} GiB"] = f"507 {json.loads(body)['title']}"
        wait_for(lambda: ask(container.port, "GET", "/readyz")[0] == 200)
        status, body = container.recognise(small_page())
        expect(status == 200, f"a small page is recognised afterwards: {status} {body[:500]!r}")
        psutil.Process(running.pid).children()[0].send_signal(signal.SIGTERM)
        expect(running.wait(timeout=GRACE_SECONDS) == 0, "SIGTERM ends it with status 0")


def small_page() -> bytes:
    """Return a PNG of the first lines of the sample page."""
    return _png(_first_lines(), 100)


def page_of_600_dpi() -> bytes:
    """Return a PNG of an A4 page of 600 dots per inch, with the first lines of the sample page."""
    lines = _first_lines()
    page = Image.new("L", A4_600, 255)
    page.paste(lines.resize((lines.width * 6, lines.height * 6)), (200, 200))
    return _png(page, 600)


def _first_lines() -> Image.Image:
    with Image.open(ROOT / "docs" / "sample-page.png") as sample:
        return sample.crop((0, 0, sample.width, 120))


def _png(image: Image.Image, dpi: int) -> bytes:
    written = io.BytesIO()
    image.save(written, "PNG", dpi=(dpi, dpi), compress_level=1)
    return written.getvalue()


def ask(port: int, method: str, path: str) -> tuple[int, Any]:
    """Make one request; return the status and the JSON of the body, or (0, None) if no process listens."""
    try:
        status, body = send(port, method, path)
    except ConnectionRefusedError:
        return 0, None
    return status, json.loads(body)


def send(
    port: int, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None
) -> tuple[int, bytes]:
    """Make one request; return the status and the body of the answer."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=900)
    try:
        connection.request(method, path, body, headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read()
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


def free_port() -> int:
    """Return a free port of loopback."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def size_of(folder: Path) -> int:
    """Return the bytes of a file, or of all files below a folder."""
    if folder.is_file():
        return folder.lstat().st_size
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def megabytes(size: int) -> str:
    """Return a size as a text in MB."""
    return f"{size / 1e6:.0f} MB"


if __name__ == "__main__":
    main()
