"""What the engine process needs around it: its working directory, its environment and its libraries.

Facts measured with aspose-ocr-python-net 26.10.0 on Debian 12; docs/engine.md has them all.
"""

import ctypes
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import app

MODELS_LINK = Path("Aspose.AI.LLM", "models")
"""Where AsposeAI looks for models, below its working directory."""
RUNTIMES = Path("Aspose.AI.LLM", "runtimes", "b6451")
"""Where AsposeAI looks for the native llama.cpp libraries, below its working directory."""
ACCELERATIONS = ("noavx", "vulkan", "openblas")
"""The folders it looks into there: where libvulkan or OpenBLAS is installed it wants that one and no other."""
LIBDL_PLACES = ("/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib", "/lib")
PREFIX = "engine-"
CURE = "run `python -m app provision`, then restart the engine with POST /engine/release"


class Workplace:
    """The folder of this service below the state folder, and in it one fresh working directory for each engine process.

    A lock on the folder says that its service lives, so that the next service may clear away what a killed one left.
    `native_dir` is what `app.engine.native.provisioning` fills; it may be missing.
    """

    def __init__(self, state_dir: Path, models_dir: Path, native_dir: Path) -> None:
        self._models_dir = models_dir
        self._openssl = native_dir / "openssl"
        self._llama = native_dir / "llama"
        state_dir.mkdir(parents=True, exist_ok=True)
        with _locked(state_dir):
            _sweep(state_dir)
            self._folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=state_dir))
            self._owner = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(self._owner, fcntl.LOCK_EX)

    def prepare(self) -> Path:
        """Make a working directory in which AsposeAI's model folder is a link to the real one."""
        directory = Path(tempfile.mkdtemp(prefix="run-", dir=self._folder))
        (directory / "tmp").mkdir()
        (directory / "lib").mkdir()
        (directory / MODELS_LINK).parent.mkdir(parents=True)
        (directory / MODELS_LINK).symlink_to(self._models_dir, target_is_directory=True)
        if libdl := _find_libdl():
            # glibc 2.34 and later ship no libdl.so, by which name .NET Core 3.1 asks for it.
            (directory / "lib" / "libdl.so").symlink_to(libdl)
        if self._llama.is_dir():
            for acceleration in ACCELERATIONS:
                folder = directory / RUNTIMES / f"linux-x64-{acceleration}"
                folder.mkdir(parents=True)
                (folder / "native").symlink_to(self._llama, target_is_directory=True)
        return directory

    def environment(self, directory: Path) -> dict[str, str]:
        """The whole environment of an engine process in that directory. `LD_LIBRARY_PATH` counts only at exec."""
        return {
            # No program on it: where AsposeAI finds nvcc, it wants CUDA libraries.
            "PATH": str(directory / "lib"),
            "HOME": str(directory),
            "TMPDIR": str(directory / "tmp"),
            "LANG": "C.UTF-8",
            # OpenSSL 1.1 is on this process's path alone; the service keeps the system's own.
            "LD_LIBRARY_PATH": f"{directory / 'lib'}:{self._openssl}:{self._llama}",
            "PYTHONPATH": str(Path(app.__file__).parent.parent),
            "PYTHONUNBUFFERED": "1",
            # .NET Core 3.1 knows no ICU as new as Debian 12's and would abort.
            "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
            # It would open a debugger's pipe and socket in /tmp and leave them there.
            "COMPlus_EnableDiagnostics": "0",
        }

    def discard(self, directory: Path) -> None:
        """Remove a working directory whose process is gone."""
        shutil.rmtree(directory, ignore_errors=True)

    def folder_for_call(self) -> Path:
        """Make a folder for what is too large for the socket; who asks for it removes it."""
        return Path(tempfile.mkdtemp(prefix="call-", dir=self._folder))

    def close(self) -> None:
        """Remove everything."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._owner)


def missing_for_recognition() -> str | None:
    """Why this process cannot recognise text, or None. Ask in the engine process, which has its own library path."""
    if trouble := _trouble_loading("libcrypto.so.1.1", "libssl.so.1.1"):
        return f"OpenSSL 1.1, which AsposeAI's runtime needs, is not installed ({trouble}): {CURE}"
    return None


def missing_for_ai() -> str | None:
    """Why this process cannot load a model, or None. Ask in the engine process, which has its own library path.

    The libraries are really loaded, and stay so; AsposeAI then uses the same.
    """
    if trouble := _trouble_loading("libdl.so"):
        return f"AsposeAI's .NET Core 3.1 runtime needs a libdl.so, and none was found ({trouble})"
    if trouble := _trouble_loading("libllama.so", "libggml-cpu-x64.so"):
        return f"the native llama.cpp libraries, which AsposeAI's package lacks, are not installed ({trouble}): {CURE}"
    return None


def platform_problem() -> str | None:
    """Why the service cannot run on this machine at all, or None."""
    if sys.platform != "linux" or os.uname().machine != "x86_64":
        return (
            "AsposeAI and the store's locks need Linux on x86-64, and this is "
            f"{sys.platform} on {os.uname().machine}; use the Docker image"
        )
    return None


def _trouble_loading(*libraries: str) -> str | None:
    """The loader's own words, which name the library."""
    try:
        for library in libraries:
            ctypes.CDLL(library)
    except OSError as exc:
        return str(exc)
    return None


def _find_libdl() -> Path | None:
    return next((path for place in LIBDL_PLACES if (path := Path(place, "libdl.so.2")).exists()), None)


def _sweep(state_dir: Path) -> None:
    for folder in state_dir.glob(f"{PREFIX}*"):
        owner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # its service lives
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(owner)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """So that no service takes a folder that another has just made, and not yet locked, for an abandoned one."""
    lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
