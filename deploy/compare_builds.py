"""Builds the image twice from one checkout, and compares the two byte for byte.

    python deploy/compare_builds.py

The second build uses no layer of the first, and a copy of the checkout at another path, with other times, and with the
rights that umask 077 gives. Prints the digest of each image, which covers its configuration and the digests of its
layers, and ends with status 1 if they differ, after a list of what differs. Takes the time of two builds and needs what
deploy/check_image.py needs. That script makes the same comparison, but builds only the packages and what follows anew.
"""

import hashlib
import stat
import sys
from pathlib import Path
from typing import Any

from image_build import (
    ROOT,
    WORK,
    CheckFailed,
    build,
    clean_up,
    image_details,
    install_tools,
    mounted,
    other_checkout,
    prepare_base,
)

FIRST, SECOND = "localhost/ocr-model-service:first", "localhost/ocr-model-service:second"
MOST_SHOWN = 40


def main() -> None:
    """Build twice, compare, print the result, and clean up."""
    install_tools()
    WORK.mkdir(parents=True, exist_ok=True)
    try:
        prepare_base()
        build(ROOT, FIRST, "--no-cache")
        with other_checkout() as folder:
            build(folder, SECOND, "--no-cache")
        print(digest(FIRST), digest(SECOND), sep="\n")
        found = differences(FIRST, SECOND)
    except CheckFailed as exc:
        sys.exit(f"FAILED: {exc}")
    finally:
        clean_up()
    print(*found[:MOST_SHOWN], sep="\n")
    sys.exit(f"{len(found)} differences" if found else 0)


def build_packages_again(image: str) -> None:
    """Build the image again from another checkout, without the layers of the packages and of what follows them.

    A comment in the lock file makes their layers useless for the build; no file of the image has it. The stage `native`
    is kept: its files are compared with pinned digests whenever they are fetched.
    """
    with other_checkout() as folder:
        with (folder / "requirements.lock").open("a") as changed:
            changed.write("# built again\n")
        build(folder, image)


def digest(image: str) -> str:
    """Return the digest of an image's configuration, which has the digests of all its layers."""
    return str(image_details(image)["FromImageID"])


def differences(first: str, second: str) -> list[str]:
    """Return a line for each difference between two images; none if they are equal byte for byte."""
    if digest(first) == digest(second):
        return []
    files = [_files(mounted(image)) for image in (first, second)]
    found = [
        f"/{name}: {files[0].get(name)} | {files[1].get(name)}"
        for name in sorted(files[0].keys() | files[1].keys())
        if files[0].get(name) != files[1].get(name)
    ]
    details = [image_details(image)["Docker"] for image in (first, second)]
    found += [
        f"configuration, {key}: {details[0].get(key)} | {details[1].get(key)}"
        for key in details[0]
        if details[0].get(key) != details[1].get(key)
    ]
    return found or ["the layers: only the order or the form of their archives"]


def _files(root: Path) -> dict[str, tuple[Any, ...]]:
    """Return of each file its type and rights, owner, group, time, and content."""
    found = {}
    for path in root.rglob("*"):
        status = path.lstat()
        content = ""
        if stat.S_ISREG(status.st_mode):
            content = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
        elif path.is_symlink():
            content = str(path.readlink())
        found[path.relative_to(root).as_posix()] = (
            oct(status.st_mode),
            status.st_uid,
            status.st_gid,
            status.st_mtime,
            content,
        )
    return found


if __name__ == "__main__":
    main()
