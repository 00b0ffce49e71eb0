"""The files of deploy/ and the Dockerfile, as the tests read them."""

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import ENV_PREFIX, Settings, load_settings
from tests.support.service import ROOT

DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
KUBERNETES = ROOT / "deploy" / "kubernetes"
SYSTEMD = ROOT / "deploy" / "systemd"
MOST_BYTES_PER_PIXEL = 80
"""Measured: 2.78 GB for a page of 35 million pixels with `upscale` and `auto_skew`; docs/engine.md has the table."""


def read(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text())


def of_kind(kind: str, manifests: list[Any]) -> Any:
    """Return the only manifest of a kind."""
    (found,) = [manifest for manifest in manifests if manifest["kind"] == kind]
    return found


def instructions(name: str) -> list[str]:
    """Return the arguments of every instruction of that name in the Dockerfile."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return re.findall(rf"^{name} +(.*)$", text, flags=re.MULTILINE)


def image_environment() -> dict[str, str]:
    """Return the environment variables of the image."""
    return dict(pair.split("=", 1) for line in instructions("ENV") for pair in line.split())


def settings_from(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return the settings that `serve` reads in a container with exactly these variables."""
    for name in [name for name in os.environ if name.startswith(ENV_PREFIX)]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings()


def write_site(folder: Path, overlay: str) -> Path:
    """Copy deploy/kubernetes below `folder`, unless it is there, and return example-site on one of the overlays.

    It has all components that suit the overlay.
    """
    copied = folder / "kubernetes"
    if not copied.exists():
        shutil.copytree(KUBERNETES, copied)
    text = (KUBERNETES / "example-site" / "kustomization.yaml").read_text()
    changes = [("- ../shared\n", f"- ../{overlay}\n")]
    if overlay == "shared":
        changes.append(("# - ../components/autoscaling\n", "- ../components/autoscaling\n"))
    for old, new in changes:
        assert text.count(old) == 1
        text = text.replace(old, new)
    (copied / "example-site" / "kustomization.yaml").write_text(text)
    return copied / "example-site"
