"""The command `models pull`, without a server and beside one."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.test_models import run
from tests.conftest import Serve
from tests.support.hub import Fault, Hub, running_hub
from tests.support.service import ECHO, ROOT
from tests.support.waiting import eventually, file_sizes

CONTENT = b"model" * 1000


@pytest.fixture
def hub() -> Iterator[Hub]:
    """Run a hub with one model."""
    with running_hub() as running:
        running.add("org/repo", "a.gguf", CONTENT)
        yield running


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return an empty model folder."""
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def test_a_model_is_pulled_without_a_server(folder: Path, hub: Hub) -> None:
    """`models pull` fetches a model, also after a broken connection, prints its row and leaves nothing in staging."""
    hub.faults.append(Fault(cut_after=100))
    pulled = run(folder, "models", "pull", "org/repo", "a.gguf", "--json", OCR_HUB_ENDPOINT=hub.url)

    assert pulled.returncode == 0, pulled.stderr
    (row,) = json.loads(pulled.stdout)
    assert (row["name"], row["size_bytes"], row["outcome"]) == ("org_repo/a.gguf", len(CONTENT), "pulled")
    assert (folder / "org_repo/a.gguf").read_bytes() == CONTENT
    assert list((folder / ".store/staging").iterdir()) == []


def test_a_refused_pull_prints_why(folder: Path, hub: Hub) -> None:
    """A pull that the source or the settings refuse exits with 1, wrong usage with 2; stderr names the reason."""
    missing = run(folder, "models", "pull", "org/repo", "nope.gguf", OCR_HUB_ENDPOINT=hub.url)
    url = run(folder, "models", "pull", f"{hub.cdn_url}/a.bin", OCR_HUB_ENDPOINT=hub.url)
    usage = run(folder, "models", "pull", "org/repo", OCR_HUB_ENDPOINT=hub.url)
    hub.faults.append(Fault(status=403))
    refused = run(folder, "models", "pull", "org/repo", "*.gguf", OCR_HUB_ENDPOINT=hub.url)

    assert [each.returncode for each in (missing, url, usage, refused)] == [1, 1, 2, 1]
    assert "EntryNotFound" in missing.stderr
    assert "OCR_PULL_ALLOWED_URLS" in url.stderr
    assert "file or files" in usage.stderr
    assert "OCR_HUB_TOKEN" in refused.stderr


def test_an_ocr_model_is_pulled_by_its_name(folder: Path, hub: Hub) -> None:
    """`models pull` with the vendor's name of an OCR model fetches it from OCR_RESOURCES_URL."""
    hub.put("/ocr/RESOURCES.json", b'{"actual": [{"file": "aspose-ocr-cyrillic-v1"}]}')
    hub.put("/ocr/aspose-ocr-cyrillic-v1.ocr", CONTENT)
    environment = {"OCR_RESOURCES_URL": f"{hub.cdn_url}/ocr"}

    pulled = run(folder, "models", "pull", "aspose-ocr-cyrillic-v1", **environment)
    missing = run(folder, "models", "pull", "aspose-ocr-nothing-v1", **environment)

    assert pulled.returncode == 0, pulled.stderr
    assert (folder / "aspose-ocr-cyrillic-v1.ocr").read_bytes() == CONTENT
    assert missing.returncode == 1
    assert "RESOURCES.json" in missing.stderr


def test_a_service_lists_the_pull_of_a_command(serve: Serve, hub: Hub) -> None:
    """A service on the same folder lists the command's pull, whether the service or the command ran it."""
    service = serve(engine_class=ECHO, hub_endpoint=hub.url)

    pulled = run(service.models_dir, "models", "pull", "org/repo", "a.gguf", OCR_HUB_ENDPOINT=hub.url)

    assert pulled.returncode == 0, pulled.stderr
    (job,) = service.client.get("/pulls").json()["jobs"]
    assert (job["state"], job["created_by"][:4]) == ("succeeded", "cli:")


def test_what_was_pulled_before_a_failure_is_printed(folder: Path, hub: Hub) -> None:
    """A pull of several files that fails at one prints the models before it, and exits with 3."""
    hub.add("org/repo", "b.gguf", CONTENT)
    hub.faults.extend([Fault(cut_after=100), Fault(), Fault(status=403)])

    pulled = run(folder, "models", "pull", "org/repo", "*.gguf", "--json", OCR_HUB_ENDPOINT=hub.url)

    assert (pulled.returncode, [row["name"] for row in json.loads(pulled.stdout)]) == (3, ["org_repo/a.gguf"])
    assert "OCR_HUB_TOKEN" in pulled.stderr


def test_each_retry_is_printed(folder: Path, hub: Hub) -> None:
    """While the source is away, the command prints why, and when it tries again; stdout has only the result."""
    hub.hub_faults.extend([Fault(status=503), Fault(status=503)])
    hub.faults.append(Fault(status=500))
    environment = {"OCR_HUB_ENDPOINT": hub.url, "OCR_PULL_RETRY_PAUSE": "0.01s"}

    pulled = run(folder, "models", "pull", "org/repo", "a.gguf", "--json", **environment)

    assert pulled.returncode == 0, pulled.stderr
    assert pulled.stderr.count("The next attempt is in") == 2
    assert "the source answered 503" in pulled.stderr
    assert len(json.loads(pulled.stdout)) == 1
    assert "its name ends in .gguf" in pulled.stderr


def test_a_command_continues_after_ctrl_c(folder: Path, hub: Hub) -> None:
    """After Ctrl-C the job is cancelled, and the same command downloads only the bytes that are missing."""
    hub.add("org/repo", "a.gguf", CONTENT * 100)
    hub.faults.append(Fault(wait_after=1 << 17))
    command = [sys.executable, "-m", "app", "models", "pull", "org/repo", "a.gguf"]
    environment = {"OCR_MODELS_DIR": str(folder), "OCR_HUB_ENDPOINT": hub.url}
    with subprocess.Popen(command, cwd=ROOT, env=os.environ | environment, stderr=subprocess.PIPE) as running:
        staging = folder / ".store/staging"
        eventually(lambda: 1 << 17 in file_sizes(staging, "*.part"), within=60)
        running.send_signal(signal.SIGINT)
        assert running.wait(timeout=120) == 130

    again = run(folder, "models", "pull", "org/repo", "a.gguf", OCR_HUB_ENDPOINT=hub.url)

    assert again.returncode == 0, again.stderr
    assert [seen.headers.get("Range") for seen in hub.asked("cdn")] == [None, f"bytes={1 << 17}-"]
    assert (folder / "org_repo/a.gguf").read_bytes() == CONTENT * 100
    assert list(staging.iterdir()) == []
