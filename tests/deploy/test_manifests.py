"""The Dockerfile, deploy/compose.yaml and the Kubernetes manifests are valid, and match each other and the settings."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from app import __version__
from app.api.http.keys import Keyring
from app.engine.process.memory_limits import share_of_container
from app.settings import ENV_PREFIX, Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "Dockerfile"
COMPOSE = ROOT / "deploy" / "compose.yaml"
KUBERNETES = ROOT / "deploy" / "kubernetes"
KUSTOMIZATION = KUBERNETES / "kustomization.yaml"
MANIFESTS = sorted(set(KUBERNETES.glob("*.yaml")) - {KUSTOMIZATION})
GRACE_SECONDS = Settings.model_fields["shutdown_grace"].default.total_seconds()

MOST_BYTES_PER_PIXEL = 80
"""Measured: 2.78 GB for a page of 35 million pixels with `upscale` and `auto_skew`; docs/engine.md has the table."""


def read(path: Path) -> Any:
    """Read a YAML file."""
    return yaml.safe_load(path.read_text())


def manifest(kind: str) -> Any:
    """Return the manifest of a kind."""
    return next(found for found in map(read, MANIFESTS) if found["kind"] == kind)


def pod() -> Any:
    """Return the pod of the Deployment."""
    return manifest("Deployment")["spec"]["template"]["spec"]


def compose_service() -> Any:
    """Return the service of deploy/compose.yaml."""
    return read(COMPOSE)["services"]["ocr"]


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


def test_hadolint_accepts_the_dockerfile() -> None:
    """hadolint finds nothing in the Dockerfile."""
    hadolint = Path(sys.executable).parent / "hadolint"
    done = subprocess.run([hadolint, DOCKERFILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_copied_files_exist_and_are_not_ignored() -> None:
    """Every file that the Dockerfile copies exists and is allowed by .dockerignore."""
    let_through = (ROOT / ".dockerignore").read_text().splitlines()
    sources = [source for line in instructions("COPY") if not line.startswith("--from") for source in line.split()[:-1]]
    assert sources
    for source in sources:
        assert (ROOT / source).exists()
        assert f"!{source}" in let_through


def test_the_image_requires_keys_or_consent(monkeypatch: pytest.MonkeyPatch) -> None:
    """The image alone does not start: it requires OCR_API_KEYS_FILE or OCR_ALLOW_ANONYMOUS."""
    with pytest.raises(SettingsError, match="OCR_API_KEYS_FILE"):
        settings_from(image_environment(), monkeypatch)


def test_the_image_keeps_everything_on_its_volume() -> None:
    """The image's folders for models and state are on its volume."""
    environment = image_environment()
    assert instructions("VOLUME") == ["/data"]
    assert all(environment[f"OCR_{name}_DIR"].startswith("/data/") for name in ("MODELS", "STATE"))


@pytest.mark.parametrize("path", [DOCKERFILE, COMPOSE, KUSTOMIZATION, *MANIFESTS], ids=lambda path: path.name)
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
    assert set(compose) <= {"name", "services", "volumes"}
    assert {volume.partition(":")[0] for volume in service["volumes"]} == set(compose["volumes"])
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


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.name)
def test_kubernetes_knows_every_field(path: Path) -> None:
    """Every manifest is valid by Kubernetes's schemas."""
    kubernetes_validate.validate(read(path), kubernetes_validate.latest_version(), strict=True)


def test_kustomization_names_every_manifest_and_this_version() -> None:
    """kustomization.yaml lists every manifest but the example secret, and the image of this version."""
    kustomization = read(KUSTOMIZATION)
    assert {*kustomization["resources"], "secret.example.yaml"} == {path.name for path in MANIFESTS}
    assert kustomization["images"] == [{"name": pod()["containers"][0]["image"], "newTag": __version__}]


def test_kubernetes_references_exist() -> None:
    """The names, labels and ports by which the manifests refer to each other exist."""
    container, volumes = pod()["containers"][0], {volume["name"]: volume for volume in pod()["volumes"]}
    assert container["envFrom"] == [{"configMapRef": {"name": manifest("ConfigMap")["metadata"]["name"]}}]
    claim, secret = manifest("PersistentVolumeClaim"), manifest("Secret")
    assert volumes["data"]["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert volumes["api-keys"]["secret"]["secretName"] == secret["metadata"]["name"]
    assert {mount["name"] for mount in container["volumeMounts"]} == set(volumes)
    labels = manifest("Deployment")["spec"]["template"]["metadata"]["labels"]
    assert manifest("Service")["spec"]["selector"].items() <= labels.items()
    assert [port["containerPort"] for port in container["ports"]] == [int(image_environment()["OCR_PORT"])]


def test_kubernetes_sets_what_the_service_accepts(monkeypatch: pytest.MonkeyPatch) -> None:
    """The service accepts the settings of the ConfigMap, and each path in them is on a mounted volume."""
    settings = settings_from(image_environment() | manifest("ConfigMap")["data"], monkeypatch)
    mounts = {Path(mount["mountPath"]) for mount in pod()["containers"][0]["volumeMounts"]}
    assert settings.api_keys_file
    for path in (settings.models_dir, settings.state_dir, settings.api_keys_file):
        assert {path, *path.parents} & mounts


def test_kubernetes_sets_no_service_link_variables() -> None:
    """Service links are disabled, because a Service named `ocr` would set OCR_PORT."""
    assert pod()["enableServiceLinks"] is False


def test_kubernetes_waits_longer_than_a_shutdown_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    """terminationGracePeriodSeconds is longer than the preStop hook and the shutdown's grace together."""
    settings = settings_from(image_environment() | manifest("ConfigMap")["data"], monkeypatch)
    command = pod()["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    longest = int(command[1]) + settings.shutdown_grace.total_seconds()
    assert pod()["terminationGracePeriodSeconds"] > longest


def test_the_pod_is_restricted() -> None:
    """The pod meets the restricted Pod Security Standard, and its root file system is read-only."""
    security, container = pod()["securityContext"], pod()["containers"][0]["securityContext"]
    assert security["runAsNonRoot"] is True
    assert security["seccompProfile"] == {"type": "RuntimeDefault"}
    assert [f"{security['runAsUser']}:{security['runAsGroup']}"] == instructions("USER")
    assert container == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_example_secret_is_a_file_of_keys(tmp_path: Path) -> None:
    """The example secret is a valid file of keys at the path of the ConfigMap."""
    (name, text), *others = manifest("Secret")["stringData"].items()
    assert not others
    assert manifest("ConfigMap")["data"]["OCR_API_KEYS_FILE"].endswith(f"/{name}")
    (tmp_path / name).write_text(text)
    Keyring.load(tmp_path / name)


def test_the_memory_is_enough_for_the_largest_image_of_the_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """In each shipped deployment the engine may hold what the largest page of OCR_MAX_IMAGE_PIXELS needs."""
    resources = pod()["containers"][0]["resources"]
    limits = {
        int(compose_service()["mem_limit"].removesuffix("g")) << 30: compose_service()["environment"],
        int(resources["limits"]["memory"].removesuffix("Gi")) << 30: manifest("ConfigMap")["data"],
    }
    for limit_bytes, environment in limits.items():
        settings = settings_from(image_environment() | environment, monkeypatch)
        assert settings.engine_memory_limit is None
        assert share_of_container(limit_bytes) >= settings.max_image_pixels * MOST_BYTES_PER_PIXEL
