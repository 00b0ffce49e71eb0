"""What the service says at its start, and what `make` puts into the folder that it serves."""

import json
import os
import re
import subprocess
from pathlib import Path

import pytest

from app import __version__
from tests.cli.terminals import at_terminal
from tests.conftest import Serve
from tests.support.service import ECHO, ROOT


def test_the_log_says_what_has_started(serve: Serve, tmp_path: Path) -> None:
    """One event has the version, the addresses, the folders, and the modes of licence and keys."""
    service = serve(engine_class=ECHO, root_path="/ocr-models")

    (line,) = [line for line in service.log.splitlines() if '"service.started"' in line]

    event = json.loads(line)
    assert (event["version"], event["models_dir"]) == (__version__, str(service.models_dir))
    assert (event["keys"][:5], event["licence"][:5]) == ("none:", "none:")
    for address in (event["docs_url"], event["openapi_url"]):
        assert address.startswith(f"{service.url.rstrip('/')}/ocr-models/")
        assert service.client.get(address).status_code == 200


def test_a_terminal_shows_a_block_of_lines(tmp_path: Path) -> None:
    """On a terminal, the start is a block of lines with the addresses and the folders, and no event."""
    settings = {"OCR_MODELS_DIR": "models", "OCR_STATE_DIR": "state", "OCR_PORT": "0", "OCR_ENGINE_CLASS": ECHO}
    variables = settings | {"PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    with at_terminal("serve", folder=tmp_path, environment=variables) as terminal:
        terminal.wait_for("API keys")
    shown = terminal.shown

    assert re.search(rf"OCR model service {re.escape(__version__)} at http://127\.0\.0\.1:\d+\.", shown)
    assert re.search(r"  docs page  http://127\.0\.0\.1:\d+/docs\r\n", shown)
    assert f"  models     {tmp_path}/models\r\n" in shown
    assert "service.started" not in shown


def make_examples(folder: Path, **environment: str) -> None:
    """Run the part of `make serve` that makes the examples, in an otherwise empty checkout."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OCR_", "MAKE"))}
    command = ["make", "-s", "-f", str(ROOT / "Makefile"), "examples"]
    subprocess.run(command, cwd=folder, env=clean | environment, check=True)


@pytest.mark.parametrize(("variable", "place"), [("", "data/models"), ("served here", "served here")])
def test_the_examples_are_in_the_folder_that_is_served(tmp_path: Path, variable: str, place: str) -> None:
    """The examples are in OCR_MODELS_DIR if it is set, else in data/models, and nowhere else."""
    make_examples(tmp_path, OCR_MODELS_DIR=variable)

    assert sorted(path.name for path in (tmp_path / place).iterdir()) == ["en_ocr_v2.bin", "old_en_ocr_v1.bin"]
    assert [path.name for path in tmp_path.iterdir()] == [place.partition("/")[0]]


def test_a_folder_with_files_gets_no_examples(tmp_path: Path) -> None:
    """A folder that has any file, a hidden one too, stays as it is."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models/.hidden").touch()

    make_examples(tmp_path, OCR_MODELS_DIR="models")

    assert [path.name for path in (tmp_path / "models").iterdir()] == [".hidden"]
