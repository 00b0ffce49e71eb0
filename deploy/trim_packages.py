"""Removes from installed packages what the service never loads, and prints how many bytes each group had.

    python deploy/trim_packages.py /opt/venv/lib/python3.11/site-packages

The Dockerfile runs it after the installation. `make test-trimmed` runs the tests of recognition, of texts and of pulls
on packages that were trimmed like this. Ends with status 1 if a group has no file: a new version of a package is then
built differently, and the group must be reviewed.
"""

import fnmatch
import sys
from dataclasses import dataclass
from pathlib import Path

NET = "aspose/netcore/*/"


@dataclass(frozen=True, slots=True)
class Group:
    """Files that the service does not need, as shell patterns of paths below site-packages."""

    reason: str
    patterns: tuple[str, ...]
    kept: tuple[str, ...] = ()
    """Patterns of the files that are kept although they match."""


GROUPS = (
    Group(
        "extension modules of the engine for other versions of Python",
        ("aspose/*.cpython-*.so",),
        (f"aspose/*.cpython-{sys.version_info.major}{sys.version_info.minor}-*.so",),
    ),
    Group("onnxruntime for Windows", ("aspose/assemblies/ocr/onnxruntime.dll",)),
    Group(
        ".NET's libraries for debuggers, dumps and tracing, which nothing loads unless a debugger or COMPlus_ asks",
        (
            f"{NET}libmscordaccore.so",
            f"{NET}libmscordbi.so",
            f"{NET}libdbgshim.so",
            f"{NET}libcoreclrtraceptprovider.so",
            f"{NET}createdump",
            f"{NET}SOS_README.md",
        ),
    ),
    Group(".NET's static libraries, which only a linker reads", (f"{NET}*.a",)),
    Group(
        "hf_xet, a downloader of huggingface_hub: the service downloads with its own HTTP client",
        ("hf_xet/*", "hf_xet-*.dist-info/*"),
    ),
)


def trim(site_packages: Path) -> dict[str, int]:
    """Remove the files of each group. Return the removed bytes by the group's reason; 0 if it has no file."""
    removed = {}
    files = sorted(path for path in site_packages.rglob("*") if path.is_file() or path.is_symlink())
    for group in GROUPS:
        found = [path for path in files if _is_of(group, path.relative_to(site_packages).as_posix())]
        removed[group.reason] = sum(path.lstat().st_size for path in found)
        for path in found:
            path.unlink()
    for folder in sorted((path for path in site_packages.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    return removed


def _is_of(group: Group, name: str) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in group.patterns) and not any(
        fnmatch.fnmatchcase(name, pattern) for pattern in group.kept
    )


def main() -> None:
    """Trim the packages in the folder that the command line names, and print the table."""
    removed = trim(Path(sys.argv[1]))
    for reason, size in removed.items():
        print(f"{size / 1e6:7.1f} MB  {reason}")
    print(f"{sum(removed.values()) / 1e6:7.1f} MB  altogether")
    if missing := [reason for reason, size in removed.items() if not size]:
        sys.exit(f"no files: {'; '.join(missing)}. Review the patterns of {Path(__file__).name}.")


if __name__ == "__main__":
    main()
