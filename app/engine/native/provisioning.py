"""Fetches the libraries that AsposeAI's package lacks into the native folder: OpenSSL 1.1 and llama.cpp."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from app.engine.native.package_clients import CannotProvision, Cause, Pin, apt_fetch, deb_unpack, npm_fetch, npm_unpack
from app.engine.native.platform_check import platform_problem

MANIFEST = "manifest.json"
SCRATCH = ".provision-"


@dataclass(frozen=True, slots=True)
class Part:
    """One folder of native libraries, and the package that the libraries come from."""

    name: str
    """The name of the folder, below the native folder."""
    pins: tuple[Pin, ...]
    """The packages that the libraries may come from, the preferred one first."""
    licence: str
    fetch: Callable[[tuple[Pin, ...], Path], tuple[Pin, Path]]
    unpack: Callable[[Path, Path, tuple[str, ...]], None]
    patterns: tuple[str, ...]
    """Shell patterns of the files to extract."""
    links: dict[str, str]
    """The symbolic links to make: the name by which AsposeAI loads a library, and the library's file name."""
    libraries: tuple[str, ...]
    """The file names of the libraries that the folder must have. A folder that a person has filled with all of them is
    not changed."""


PARTS = (
    Part(
        "openssl",
        (
            Pin("libssl1.1", "1.1.1w-0+deb11u8", "dcc68a543de6cb955a57077b66dcdb15f61d1e31e072f2c6cc4082c37da1b00d"),
            # Debian 11's archive without its security suite has this version.
            Pin("libssl1.1", "1.1.1w-0+deb11u1", "aadf8b4b197335645b230c2839b4517aa444fd2e8f434e5438c48a18857988f7"),
        ),
        "OpenSSL",
        apt_fetch,
        deb_unpack,
        ("usr/lib/x86_64-linux-gnu/lib*.so.1.1", "usr/share/doc/libssl1.1/copyright"),
        {},
        ("libcrypto.so.1.1", "libssl.so.1.1"),
    ),
    Part(
        "llama",
        (
            Pin(
                "@node-llama-cpp/linux-x64",
                "3.13.0",
                "a877cdaacda7e2663d57258ef1355204bc060fd441fddd58f54f42f5251fe3de",
            ),
        ),
        "MIT",
        npm_fetch,
        npm_unpack,
        ("package/bins/linux-x64/*.so", "package/LICENSE"),
        {"libllama.so": "libllama.b6431.so", "libggml.so": "libggml.b6431.so"},
        ("libllama.so", "libggml.so", "libggml-base.so", "libggml-cpu-x64.so"),
    ),
)


@dataclass(frozen=True, slots=True)
class ProvisionOutcome:
    """The result for one `Part`: a sentence for people, and the cause if the part's folder could not be filled."""

    sentence: str
    failure: Cause | None = None


def provision(native_dir: Path) -> Iterator[ProvisionOutcome]:
    """Fetch the missing native libraries, and yield one outcome for each folder of libraries (`Part`).

    A folder that is complete and from a pinned version of its package is not fetched again. Each folder is filled under
    a temporary name, as a scratch folder, and gets its final name by one rename. So a killed run leaves only its
    scratch folder, which the next run removes.
    """
    if reason := platform_problem():
        yield ProvisionOutcome(reason, Cause.PLATFORM)
        return
    try:
        native_dir.mkdir(parents=True, exist_ok=True)
        with _locked(native_dir):
            for part in PARTS:
                yield _provide(part, native_dir)
    except OSError as exc:
        yield ProvisionOutcome(f"{native_dir} cannot be filled: {exc}.", Cause.FOLDER)


def _provide(part: Part, native_dir: Path) -> ProvisionOutcome:
    folder = native_dir / part.name
    manifest = _manifest(folder)
    if manifest is None and all((folder / name).exists() for name in part.libraries):
        return ProvisionOutcome(f"{folder} was filled by hand and is left alone.")
    if manifest is not None and _is_whole(part, folder, manifest):
        return ProvisionOutcome(f"{folder} has {manifest['package']} {manifest['version']}.")
    try:
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=native_dir, ignore_cleanup_errors=True) as scratch:
            pin = _install(part, Path(scratch).resolve(), folder)
    except CannotProvision as exc:
        return ProvisionOutcome(f"{folder} was not filled: {exc}.", exc.cause)
    return ProvisionOutcome(f"{folder} was filled with {pin.package} {pin.version}.")


def _install(part: Part, scratch: Path, folder: Path) -> Pin:
    pin, archive = part.fetch(part.pins, scratch)
    if (digest := _sha256(archive)) != pin.sha256:
        raise CannotProvision(
            Cause.DIFFERENT,
            f"{pin.package} {pin.version} has the SHA-256 {digest}, but {pin.sha256} is pinned: "
            "the download was altered, or this service must be updated",
        )
    staged = scratch / part.name
    staged.mkdir()
    part.unpack(archive, staged, part.patterns)
    for link, target in part.links.items():
        (staged / link).symlink_to(target)
    (staged / MANIFEST).write_text(json.dumps(_facts(part, pin, staged), indent=2) + "\n")
    if folder.exists():
        folder.rename(scratch / "replaced")
    staged.rename(folder)
    return pin


def _facts(part: Part, pin: Pin, staged: Path) -> dict[str, Any]:
    files = sorted(path for path in staged.iterdir() if not path.is_symlink())
    return {
        "name": part.name,
        "package": pin.package,
        "version": pin.version,
        "sha256": pin.sha256,
        "licence": part.licence,
        "files": {path.name: _sha256(path) for path in files},
        "links": part.links,
    }


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        return dict(json.loads((folder / MANIFEST).read_text()))
    except FileNotFoundError:
        return None
    except ValueError:
        return {}


def _is_whole(part: Part, folder: Path, manifest: dict[str, Any]) -> bool:
    """Return whether a part's folder is from a pinned package and every file still has the digest in the manifest."""
    if manifest.get("sha256") not in {pin.sha256 for pin in part.pins}:
        return False
    files = manifest.get("files", {})
    return all((folder / name).is_file() for name in part.libraries) and all(
        (folder / name).is_file() and _sha256(folder / name) == digest for name, digest in files.items()
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _locked(native_dir: Path) -> Iterator[None]:
    """Lock the native folder against other runs, and remove the scratch folders of killed runs."""
    lock = os.open(native_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for left in native_dir.glob(f"{SCRATCH}*"):
            shutil.rmtree(left, ignore_errors=True)
        yield
    finally:
        os.close(lock)
