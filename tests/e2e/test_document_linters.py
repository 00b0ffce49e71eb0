"""Two linters find nothing in the OpenAPI document. Their settings are in openapi_rules/, with their exceptions."""

import json
import subprocess
from pathlib import Path

import pytest

from app.main import create_app
from app.settings import Settings
from tests.support import npm

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

RULES = Path(__file__).with_name("openapi_rules")
SPECTRAL, REDOCLY = "@stoplight/spectral-cli@6.16.3", "@redocly/cli@2.77.0"


@pytest.fixture(scope="module")
def tools(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the linters and return the folder of their commands."""
    return npm.install(tmp_path_factory.mktemp("linters"), SPECTRAL, REDOCLY) / ".bin"


@pytest.fixture(scope="module", params=["without keys", "with keys"])
def document(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the document of a service and return its path."""
    settings = Settings(api_keys_file=Path("keys.toml") if request.param == "with keys" else None)
    path = tmp_path_factory.mktemp("document") / "openapi.json"
    path.write_text(json.dumps(create_app(settings).openapi()))
    return path


def lint(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)


def test_spectral_finds_nothing(tools: Path, document: Path) -> None:
    """Spectral's rules for OpenAPI find no error and no warning."""
    run = lint(tools / "spectral", "lint", "--fail-severity=hint", f"--ruleset={RULES / 'spectral.yaml'}", document)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "No results" in run.stdout


def test_redocly_finds_nothing(tools: Path, document: Path) -> None:
    """Redocly's recommended rules find no error and no warning."""
    run = lint(tools / "redocly", "lint", f"--config={RULES / 'redocly.yaml'}", "--max-problems=1000", document)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "warning" not in run.stdout + run.stderr, run.stdout + run.stderr
