"""`python -m app provision`: the native folder is filled with the pinned packages, or stays unchanged."""

import json
import os
import platform
import signal
from pathlib import Path

import pytest

from tests.engine.native.machine import Machine
from tests.support.skips import ELSEWHERE
from tests.support.waiting import eventually


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_without_apt_and_npm_it_says_what_would_help_and_leaves_nothing(machine: Machine) -> None:
    """Without apt-get and npm the command prints one sentence for each part and leaves the native folder empty."""
    status, out, err = machine.provision()

    assert status == 4
    assert out == ""
    assert "apt-get is not installed" in err.splitlines()[0]
    assert "npm is not installed" in err.splitlines()[1]
    assert list(machine.native.iterdir()) == []


def test_what_was_filled_by_hand_is_left_alone(machine: Machine) -> None:
    """Parts that were filled by hand are not changed."""
    machine.fill_by_hand("openssl", "llama")

    status, out, err = machine.provision()

    assert (status, err) == (0, "")
    assert out.count("filled by hand") == 2
    assert (machine.native / "llama/libllama.so").read_text() == "by hand"


def test_another_archive_than_the_pinned_one_is_refused(machine: Machine) -> None:
    """An archive with another SHA-256 than the pinned one is not unpacked."""
    machine.fill_by_hand("openssl")
    machine.has("npm", "echo something else > package.tgz")

    status, _, err = machine.provision()

    assert status == 7
    assert "SHA-256" in err
    assert [path.name for path in machine.native.iterdir()] == ["openssl"]


def test_an_unreachable_registry_is_told_apart_with_the_clients_own_words(machine: Machine) -> None:
    """If npm cannot reach its registry, the message has npm's first line about an error."""
    machine.fill_by_hand("openssl")
    machine.has("npm", "echo 'npm notice x' >&2; echo 'npm error code ENOTFOUND' >&2; exit 1")

    status, _, err = machine.provision()

    assert status == 6
    assert "(npm error code ENOTFOUND)" in err
    assert "mirror" in err


def test_a_system_whose_apt_knows_no_debian_is_refused(machine: Machine) -> None:
    """If apt's sources name no Debian archive, the command fails with status 5."""
    machine.fill_by_hand("llama")
    machine.has("apt-get", "echo \"'http://127.0.0.1:9/other/dists/nodistro/InRelease' other 0\"")

    status, _, err = machine.provision()

    assert status == 5
    assert "Debian" in err


@pytest.mark.skipif(platform.freedesktop_os_release()["ID"] != "debian", reason=f"{ELSEWHERE}one with Debian")
@pytest.mark.parametrize(
    ("versions", "expected"), [(" libssl1.1 | 1.1.1zz-1 | elsewhere", 7), ("", 6)], ids=["another", "none"]
)
def test_another_version_in_the_archive_is_told_from_none(machine: Machine, versions: str, expected: int) -> None:
    """An archive with another version gives status 7 and names the version; an archive with none gives status 6."""
    machine.fill_by_hand("llama")
    machine.has("apt-get", "echo \"'http://127.0.0.1:9/debian/dists/stable/InRelease' debian 0\"")
    machine.has("apt-cache", f"echo '{versions}'")

    status, _, err = machine.provision()

    assert status == expected
    assert ("1.1.1zz-1" in err) == bool(versions)
    assert [path.name for path in machine.native.iterdir()] == ["llama"]


def test_killed_midway_it_leaves_nothing_half(machine: Machine, tmp_path: Path) -> None:
    """A killed command leaves no incomplete part, and the next run removes its scratch folder."""
    machine.fill_by_hand("openssl")
    machine.has("npm", f"echo half > package.tgz; echo $$ > {tmp_path}/pid; exec /bin/sleep 60")
    with machine.start() as command:
        eventually(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text(), within=10)
        command.kill()
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)

    assert not (machine.native / "llama").exists()
    assert [path.name for path in machine.native.iterdir() if path.name != "openssl"] != []
    machine.has("npm", "exit 1")
    machine.provision()
    assert [path.name for path in machine.native.iterdir()] == ["openssl"]


def test_a_folder_that_cannot_be_made_is_named(machine: Machine, tmp_path: Path) -> None:
    """If the native folder cannot be made, the command fails with status 1 and names it."""
    (tmp_path / "file").touch()

    status, _, err = machine.provision(OCR_NATIVE_DIR=str(tmp_path / "file" / "native"))

    assert status == 1
    assert str(tmp_path / "file" / "native") in err


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_real_clients_bring_the_real_libraries(machine: Machine) -> None:
    """apt and npm fetch both parts; a second run fetches nothing, and a damaged part is fetched again."""
    path = os.environ["PATH"]
    status, out, err = machine.provision(PATH=path)
    assert (status, err) == (0, "")
    assert out.count("was filled with") == 2

    status, out, err = machine.provision()
    assert (status, err) == (0, "")
    manifest = json.loads((machine.native / "llama/manifest.json").read_text())
    assert manifest["package"] == "@node-llama-cpp/linux-x64"
    assert manifest["version"] in out
    assert (machine.native / "llama/libllama.so").resolve().name in manifest["files"]

    with (machine.native / "openssl/libssl.so.1.1").open("r+b") as file:
        file.write(b"damaged")
    status, _, _ = machine.provision()
    assert status == 4
    status, out, _ = machine.provision(PATH=path)
    assert status == 0
    assert out.count("was filled with") == 1
    assert {path.name for path in machine.native.iterdir()} == {"openssl", "llama"}
