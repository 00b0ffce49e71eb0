"""Working directories: made for each engine process, removed after it, and swept after a kill."""

from pathlib import Path

from app.engine.native.workdir import WorkDirectories
from tests.support.processes import python

OPEN_ONE = """
import sys
from pathlib import Path
from app.engine.native.workdir import WorkDirectories
workdirs = WorkDirectories(Path(sys.argv[1]), Path(sys.argv[2]), Path("native"))
workdirs.prepare()
print("open", flush=True)
sys.stdin.read()
"""


def folders(state_dir: Path) -> list[Path]:
    return [path for path in state_dir.iterdir() if path.is_dir()]


def test_the_vendors_model_folder_is_a_link_to_the_real_one(tmp_path: Path) -> None:
    """AsposeAI's model folder is a link to the store's, and discarding the directory keeps the models."""
    (tmp_path / "models").mkdir()
    workdirs = WorkDirectories(tmp_path / "state", tmp_path / "models", tmp_path / "native")

    directory = workdirs.prepare()

    assert (directory / "Aspose.AI.LLM/models").resolve() == tmp_path / "models"
    workdirs.discard(directory)
    assert (tmp_path / "models").exists()
    workdirs.close()
    assert folders(tmp_path / "state") == []


def test_what_a_killed_service_left_is_swept_and_what_a_living_one_uses_is_not(tmp_path: Path) -> None:
    """A starting service removes the folder of a killed service, and keeps that of a running one."""
    (tmp_path / "models").mkdir()
    state_dir = tmp_path / "state"
    with python(OPEN_ONE, state_dir, tmp_path / "models") as living:
        WorkDirectories(state_dir, tmp_path / "models", tmp_path / "native").close()
        assert len(folders(state_dir)) == 1

        living.kill()
        living.wait()
        WorkDirectories(state_dir, tmp_path / "models", tmp_path / "native").close()
        assert folders(state_dir) == []
    assert (tmp_path / "models").exists()


def test_the_native_libraries_lie_wherever_the_vendor_may_look(tmp_path: Path) -> None:
    """The native libraries are linked into each of the runtime folders that AsposeAI may choose."""
    (tmp_path / "models").mkdir()
    (tmp_path / "native/llama").mkdir(parents=True)
    (tmp_path / "native/llama/libllama.so").touch()
    workdirs = WorkDirectories(tmp_path / "state", tmp_path / "models", tmp_path / "native")

    directory = workdirs.prepare()

    runtimes = directory / "Aspose.AI.LLM/runtimes/b6451"
    found = {path.parent.parent.name for path in runtimes.glob("*/native/libllama.so")}
    assert found == {"linux-x64-noavx", "linux-x64-vulkan", "linux-x64-openblas"}
    workdirs.close()
    assert (tmp_path / "native/llama/libllama.so").exists()
