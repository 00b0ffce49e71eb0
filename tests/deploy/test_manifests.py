"""The Dockerfile and deploy/compose.yaml are valid, and match each other and the settings."""

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from app.engine.process.memory_limits import share_of_container
from app.settings import ENV_PREFIX, Settings, SettingsError
from tests.deploy.files import (
    COMPOSE,
    DOCKERFILE,
    KUBERNETES,
    MOST_BYTES_PER_PIXEL,
    SYSTEMD,
    image_environment,
    instructions,
    read,
    settings_from,
)
from tests.support.service import ROOT

DEPLOYED = [path for folder in (KUBERNETES, SYSTEMD) for path in sorted(folder.rglob("*.*")) if path.is_file()]
GRACE_SECONDS = Settings.model_fields["shutdown_grace"].default.total_seconds()


def compose_service() -> Any:
    """Return the service of deploy/compose.yaml."""
    return read(COMPOSE)["services"]["ocr"]


def test_hadolint_accepts_the_dockerfile() -> None:
    """hadolint finds nothing in the Dockerfile."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_hadolint_refuses_a_defect(tmp_path: Path) -> None:
    """hadolint fails if a line of the Dockerfile lacks what it asks for: here an `apt-get install` asks a person."""
    seeded = tmp_path / "Dockerfile"
    assert DOCKERFILE.read_text().count("apt-get install --yes --no-install-recommends npm") == 1
    seeded.write_text(DOCKERFILE.read_text().replace("install --yes --no-install-recommends npm", "install npm"))
    done = subprocess.run(
        [Path(sys.executable).parent / "hadolint", seeded], capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert "DL3014" in done.stdout


def test_copied_files_exist_and_are_not_ignored() -> None:
    """Every file that the Dockerfile copies exists and is allowed by .dockerignore."""
    let_through = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert {f"!{path}" for path in (Path(source), *Path(source).parents)} & set(let_through)


def test_the_image_requires_keys_or_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image alone does not start: it requires OCR_API_KEYS_FILE or OCR_ALLOW_ANONYMOUS."""
    with pytest.raises(SettingsError, match="OCR_API_KEYS_FILE"):
        settings_from(image_environment(), monkeypatch)


def test_the_image_keeps_everything_on_its_volume() -> None:
    """The image's folders for models and state are on its volume."""
    environment = image_environment()
    assert instructions("VOLUME") == ["/data"]
    assert all(environment[f"OCR_{name}_DIR"].startswith("/data/") for name in ("MODELS", "STATE"))


@pytest.mark.parametrize("path", [DOCKERFILE, COMPOSE, *DEPLOYED], ids=lambda path: str(path.relative_to(ROOT)))
def test_every_variable_is_a_setting(path: Path) -> None:
    """Every OCR_ variable in a deployment file is a setting."""
    known = {ENV_PREFIX + name.upper() for name in Settings.model_fields}
    assert set(re.findall(rf"\b{ENV_PREFIX}[A-Z][A-Z_]*", path.read_text())) <= known


def test_compose_sets_what_the_service_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service accepts the settings of deploy/compose.yaml, which include a file of keys."""
    assert settings_from(image_environment() | compose_service()["environment"], monkeypatch).api_keys_file


def test_compose_knows_every_field() -> None:
    """deploy/compose.yaml is valid by the Compose schema."""
    checker = Path(sys.executable).parent / "check-jsonschema"
    command: list[str | Path] = [checker, "--builtin-schema", "vendor.compose-spec", COMPOSE]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_compose_refers_to_what_it_defines() -> None:
    """Every volume that the Compose service uses is defined, the file of keys is on it, and the Dockerfile is built."""
    compose, service = read(COMPOSE), compose_service()
    assert set(compose) <= {"name", "services", "networks", "volumes"}
    assert {volume.partition(":")[0] for volume in service["volumes"]} <= set(compose["volumes"])
    assert {volume.partition(":")[2] for volume in service["volumes"]} == set(instructions("VOLUME"))
    keys = Path(service["environment"]["OCR_API_KEYS_FILE"])
    assert str(keys.parent) in {volume.partition(":")[2] for volume in service["volumes"]}
    assert not keys.is_relative_to(image_environment()["OCR_MODELS_DIR"])
    assert (COMPOSE.parent / service["build"]["context"] / "Dockerfile").samefile(DOCKERFILE)


def test_compose_gives_the_container_no_more_than_it_needs() -> None:
    """The Compose service is read-only, without capabilities, on loopback only, and has time to shut down."""
    service = compose_service()
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert all(port.startswith("127.0.0.1:") for port in service["ports"])
    assert int(service["stop_grace_period"].removesuffix("s")) > GRACE_SECONDS


def test_the_memory_is_enough_for_the_largest_image_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the limit of the Compose file the engine may hold what the largest page of OCR_MAX_IMAGE_PIXELS needs."""
    settings = settings_from(image_environment() | compose_service()["environment"], monkeypatch)
    limit_bytes = int(compose_service()["mem_limit"].removesuffix("g")) << 30
    assert settings.engine_memory_limit is None
    assert share_of_container(limit_bytes) >= settings.max_image_pixels * MOST_BYTES_PER_PIXEL
