"""The working directories and the environment variables of engine processes.

docs/engine.md describes what was measured with aspose-ocr-python-net 26.10.0 on Debian 12.
"""

import fcntl
import os
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import app
from app.engine.native.gpus import build_in
from app.engine.native.libraries import ACCELERATIONS, RUNTIMES
from app.engine.native.state_errors import explaining_state_errors

MODELS_LINK = Path("Aspose.AI.LLM", "models")
"""Where AsposeAI looks for models, below its working directory."""
GPU_VARIABLES = re.compile(r"(CUDA|NVIDIA|GGML|VK|MESA|DRI|ROC|HIP|HSA)_\w+")
"""Matches the environment variables that choose a GPU or find its driver. The engine process gets them unchanged."""
LIBDL_PLACES = ("/lib/x86_64-linux-gnu", "/lib64", "/usr/lib64", "/usr/lib", "/lib")
PREFIX = "engine-"


class WorkDirectories:
    """This service's folder below the state folder, with a working directory for each engine process.

    The service holds a lock on its folder. A service that starts removes the folders without a lock: killed services
    have left them. `native_dir` is the folder that `app.engine.native.provisioning` fills; it may be missing.
    """

    def __init__(self, state_dir: Path, models_dir: Path, native_dir: Path) -> None:
        self._models_dir = models_dir
        self._openssl = native_dir / "openssl"
        self._llama = native_dir / "llama"
        self._state_dir = state_dir
        self._making = threading.Lock()
        self._folder, self._owner = self._made()

    def _made(self) -> tuple[Path, int]:
        """Create this service's folder; return its path, and the descriptor that holds its lock."""
        self._state_dir.mkdir(parents=True, exist_ok=True)
        with _locked(self._state_dir):
            _sweep(self._state_dir)
            folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=self._state_dir))
            owner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            fcntl.flock(owner, fcntl.LOCK_EX)
            return folder, owner

    def _own_folder(self) -> Path:
        """Return this service's folder.

        Create it again if another program, such as a cleaner of /tmp, has removed it.
        """
        with self._making:
            if not self._is_there():
                gone, (self._folder, self._owner) = self._owner, self._made()
                os.close(gone)
            return self._folder

    def _is_there(self) -> bool:
        try:
            return os.path.samestat(self._folder.stat(), os.fstat(self._owner))
        except FileNotFoundError:
            return False

    def prepare(self) -> Path:
        """Make a working directory for an engine process, with links to the model folder and the native libraries.

        Raises OSError.
        """
        directory = Path(tempfile.mkdtemp(prefix="run-", dir=self._own_folder()))
        (directory / "tmp").mkdir()
        (directory / "lib").mkdir()
        (directory / MODELS_LINK).parent.mkdir(parents=True)
        (directory / MODELS_LINK).symlink_to(self._models_dir, target_is_directory=True)
        if libdl := _find_libdl():
            # glibc 2.34 and later ship no libdl.so, the name by which .NET Core 3.1 asks for it.
            (directory / "lib" / "libdl.so").symlink_to(libdl)
        if self._llama.is_dir():
            for acceleration in ACCELERATIONS:
                folder = directory / RUNTIMES / f"linux-x64-{acceleration}"
                folder.mkdir(parents=True)
                (folder / "native").symlink_to(self._llama, target_is_directory=True)
        return directory

    def environment(self, directory: Path) -> dict[str, str]:
        """Return all environment variables of an engine process that runs in `directory`.

        With a build of llama.cpp for GPUs, these include the variables of this process that say where the GPU's driver
        is, and which GPU to use.
        """
        libraries = ":".join((str(directory / "lib"), str(self._openssl), str(self._llama)))
        if build_in(self._llama) and (drivers := os.environ.get("LD_LIBRARY_PATH", "").strip(":")):
            libraries += f":{drivers}"
        return {
            **self._gpu_variables(),
            # A folder without programs: if AsposeAI finds nvcc, it requires CUDA libraries.
            "PATH": str(directory / "lib"),
            # .NET and the vendor write below HOME and TMPDIR; the directory is removed after the process.
            "HOME": str(directory),
            "TMPDIR": str(directory / "tmp"),
            # The service reads the output as UTF-8, in any locale of its own.
            "LANG": "C.UTF-8",
            # The variable counts only at exec. Only this process finds OpenSSL 1.1; the service keeps the system's.
            "LD_LIBRARY_PATH": libraries,
            # The process starts in the working directory, from which `-m app...` would not be found.
            "PYTHONPATH": str(Path(app.__file__).parent.parent),
            # The last line before a crash must reach the pipe.
            "PYTHONUNBUFFERED": "1",
            # .NET Core 3.1 does not know an ICU as new as Debian 12's and would abort.
            "DOTNET_SYSTEM_GLOBALIZATION_INVARIANT": "1",
            # With diagnostics, .NET creates a debugger's pipe and socket in /tmp and leaves them there.
            "COMPlus_EnableDiagnostics": "0",
        }

    def _gpu_variables(self) -> dict[str, str]:
        if build_in(self._llama) is None:
            return {}
        return {name: value for name, value in os.environ.items() if GPU_VARIABLES.fullmatch(name)}

    def discard(self, directory: Path) -> None:
        """Remove the working directory of a process that has ended."""
        shutil.rmtree(directory, ignore_errors=True)

    def folder_for_call(self) -> Path:
        """Make a folder for the data of one engine call that is too large for the socket.

        The caller removes the folder.

        Raises StateFull and StateUnavailable.
        """
        with explaining_state_errors():
            return Path(tempfile.mkdtemp(prefix="call-", dir=self._own_folder()))

    def close(self) -> None:
        """Remove this service's folder and everything in it."""
        shutil.rmtree(self._folder, ignore_errors=True)
        os.close(self._owner)


def _find_libdl() -> Path | None:
    return next((path for place in LIBDL_PLACES if (path := Path(place, "libdl.so.2")).exists()), None)


def _sweep(state_dir: Path) -> None:
    """Remove the folders of services that have ended."""
    for folder in state_dir.glob(f"{PREFIX}*"):
        owner = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(owner, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue  # the folder's service is alive
        else:
            shutil.rmtree(folder, ignore_errors=True)
        finally:
            os.close(owner)


@contextmanager
def _locked(state_dir: Path) -> Iterator[None]:
    """Lock the state folder, so that no sweep removes a folder that another service has made and not yet locked."""
    lock = os.open(state_dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
    finally:
        os.close(lock)
