"""The commands of docs/operations.md run: each `bash` block, in order, beside a service with keys.

Each other block of commands is run by another test, which TRIED_ELSEWHERE names.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import Hub, HubFile
from tests.support.processes import free_port
from tests.support.service import ECHO, ROOT, RunningService

PAGE = (ROOT / "docs" / "operations.md").read_text()
SECTION = re.compile(r"^## (.*)$", re.MULTILINE)
TASKS = ("Install", "Size", "Secure", "Licence", "Proxy", "Upgrade and roll back", "Air-gapped", "Replicas", "Cluster")
PARTS = ("Without a server", "Other programs on the folder")
TRIED_ELSEWHERE = {
    "rsync -a --delete --exclude": "tests/store/integrity/test_backup_under_load.py",
    "rsync -a --delete backup:": "tests/store/integrity/test_backup_under_load.py",
    "tar -C /data/models --create": "tests/store/integrity/test_backup_under_load.py",
    "tar -C /data/models --extract": "tests/store/integrity/test_backup_under_load.py",
    "$ .venv/bin/python -m app provision --runtime vulkan": "tests/engine/native/test_llama_builds.py",
    "OTEL_EXPORTER_OTLP_ENDPOINT=": "tests/test_tracing.py",
}
"""The other blocks, by how they begin, and the tests that run what they show."""
SECOND_PORT = "8001"
ONE_PACKAGE = "click"
"""The package that the test downloads in place of all, which have half a gigabyte."""


def blocks(kind: str) -> list[tuple[str, str]]:
    """Return each block of a kind with the heading of its section, which is empty before the first."""
    found = re.finditer(rf"^```{kind}\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return [(["", *SECTION.findall(PAGE[: block.start()])][-1], block[1]) for block in found]


def locked(package: str) -> str:
    """Return the lines of the lock file for one package."""
    found = re.search(rf"^{package}==(?:.*\\\n)*.*\n", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert found
    return found[0]


def test_each_task_has_commands() -> None:
    """Each task with commands has a block that the test below runs."""
    assert list(dict.fromkeys(section for section, _ in blocks("bash"))) == ["", *TASKS, *PARTS]


def test_each_other_block_is_tried_by_another_test() -> None:
    """Each block that is no `bash` block is listed with a test, and each fence has a kind."""
    others = [block for kind in ("sh", "console") for _, block in blocks(kind)]
    assert len(others) + len(blocks("bash")) == PAGE.count("```") // 2
    assert len(others) == len(TRIED_ELSEWHERE)
    for beginning, test in TRIED_ELSEWHERE.items():
        assert len([block for block in others if block.startswith(beginning)]) == 1, beginning
        assert (ROOT / test).is_file()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return the folder in which the commands run, with the files that an operator has there."""
    (tmp_path / "models").mkdir()
    for name in ("en_ocr_v2.bin", "models/en_ocr_v2.bin", "models/old_en_ocr_v1.bin"):
        (tmp_path / name).write_bytes(b"a model")
    (tmp_path / "requirements.lock").write_text(locked(ONE_PACKAGE))
    batch = tmp_path / "bin" / "nightly-batch"
    batch.parent.mkdir()
    batch.write_text('#!/bin/sh\n[ "$*" = --all ]\n')
    batch.chmod(0o755)
    return tmp_path


@pytest.fixture
def key(folder: Path) -> None:
    """Make the key of the page's first block, and the file that the service reads."""
    command = [sys.executable, "-m", "app", "keys", "create", "admin", "--scope", "read", "--scope", "engine"]
    made = subprocess.run([*command, "--file", folder / "service-keys.toml"], cwd=ROOT, capture_output=True, check=True)
    (folder / "admin.key").write_bytes(made.stdout)


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Run a hub with the file that the page pulls."""
    with Hub() as running:
        running.files["ORG/REPO", "FILE"] = HubFile(b"a pulled model")
        yield running


@pytest.mark.slow
@pytest.mark.usefixtures("key")
def test_each_command_runs(folder: Path, hub: Hub) -> None:
    """Each `bash` block ends with status 0, in one folder, with a service that runs and asks for keys."""
    (_, first), *others = blocks("bash")
    second_port = str(free_port())
    with RunningService(folder, engine_class=ECHO, api_keys_file=folder / "service-keys.toml") as service:
        headers = {"Authorization": f"Bearer {(folder / 'admin.key').read_text().strip()}"}
        service.client.headers.update(headers)
        service.wait_until_ready()
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
        environment = inherited | {
            "PATH": f"{Path(sys.executable).parent}:{folder / 'bin'}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "URL": service.url.rstrip("/"),
            "OCR_API_KEYS_FILE": str(folder / "service-keys.toml"),
            "OCR_HUB_ENDPOINT": hub.url,
            "OCR_MODELS_DIR": str(service.models_dir),
            "OCR_STATE_DIR": str(service.state_dir),
            "OCR_ENGINE_CLASS": ECHO,
        }
        for section, block in others:
            script = first + block.replace(SECOND_PORT, second_port)
            command = ["bash", "-e", "-u", "-o", "pipefail", "-c", script]
            done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
            assert done.returncode == 0, f"{section}: {block}{done.stdout}{done.stderr}"
    assert (folder / "models" / "ORG_REPO" / "FILE").read_bytes() == b"a pulled model"
    assert len(list((folder / "wheels").iterdir())) == 1
    assert list((folder / ".venv").glob(f"lib/python3.*/site-packages/{ONE_PACKAGE}"))


@pytest.mark.parametrize(
    ("content", "wrong"),
    [
        (None, "cannot be read"),
        ("no TOML", "is not a file of keys"),
        ('[[keys]]\nname = "backup"\nscopes = ["reed"]\nsha256 = "00"\n', "'reed' is not a valid Scope"),
    ],
    ids=["missing", "not TOML", "an unknown scope"],
)
def test_the_check_of_the_file_of_keys_finds_a_wrong_file(tmp_path: Path, content: str | None, wrong: str) -> None:
    """The last command of the section "Secure" ends with status 1 for a file that a start refuses, and says why."""
    (block,) = (block for section, block in blocks("bash") if section == "Secure")
    check = block[block.index("export ") :]
    if content is not None:
        (tmp_path / "keys.toml").write_text(content)
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OCR_")}
    environment = inherited | {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }

    done = subprocess.run(
        ["bash", "-c", check], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 1, done.stdout + done.stderr
    assert wrong in done.stderr.splitlines()[-1]


@pytest.mark.parametrize("anchor", re.findall(r"\]\(#([\w-]+)\)", PAGE))
def test_each_link_within_the_page_has_its_heading(anchor: str) -> None:
    """Each link to a section of the page names a heading."""
    headings = re.findall(r"^#+ (.*)$", PAGE, re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}
