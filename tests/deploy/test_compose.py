"""The Compose files: the keys of the first start, secrets and profiles, read by an implementation of Compose."""

import json
import os
import stat
import subprocess
import sys
import tempfile
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.api.http.keys import Keyring, Scope
from app.settings import ENV_PREFIX, Settings
from tests.conftest import Serve
from tests.support.deployed.proxies import are_installed, program
from tests.support.service import ECHO, ROOT

DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
IMAGES = {"PROMETHEUS_IMAGE", "GRAFANA_IMAGE", "NGINX_IMAGE", "IMAGE"}


def resolved(*names: str, profile: str = "", **environment: str) -> dict[str, Any]:
    """Return what podman-compose makes of the files: merged, with variables replaced.

    It asks podman for its version first, so a fake podman answers that, and nothing else.
    """
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    command = [sys.executable, "-m", "podman_compose", *(["--profile", profile] if profile else [])]
    for name in names:
        command += ["-f", str(DEPLOY / name)]
    with tempfile.TemporaryDirectory() as folder:
        podman = Path(folder, "podman")
        podman.write_text('#!/bin/sh\n[ "$1" = --version ] || exit 1\necho podman version 4.3.1\n')
        podman.chmod(0o755)
        done = subprocess.run(
            [*command, "config"],
            cwd=ROOT,
            env=clean | {"PATH": f"{folder}:{os.environ['PATH']}"} | environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    return dict(yaml.safe_load(done.stdout))


def first_start(volume: Path) -> None:
    """Run the command of the Compose service up to the server, with `volume` in place of /data."""
    shell, options, script = resolved("compose.yaml")["services"]["ocr"]["command"]
    assert script.endswith("exec python -m app serve\n")
    script = script.removesuffix("exec python -m app serve\n").replace("/data/", f"{volume}/")
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    variables = {
        "OCR_HOST": "0.0.0.0",
        "OCR_API_KEYS_FILE": str(volume / "keys.toml"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    subprocess.run([shell, options, script], cwd=ROOT, env=clean | variables, check=True, timeout=120)


def test_the_first_start_makes_keys_and_a_later_one_keeps_them(tmp_path: Path, serve: Serve) -> None:
    """The first start makes a key for everything and one for Prometheus, whatever an interrupted start has left."""
    (tmp_path / "new-keys.toml").write_text('[[keys]]\nname = "metrics"\n')
    first_start(tmp_path)
    admin, metrics = ((tmp_path / f"{name}.key").read_text().strip() for name in ("admin", "metrics"))
    made = (tmp_path / "keys.toml").read_bytes()
    first_start(tmp_path)

    keyring = Keyring.load(tmp_path / "keys.toml")
    assert (tmp_path / "keys.toml").read_bytes() == made
    assert {key.name: set(key.scopes) for key in keyring.keys} == {"admin": set(Scope), "metrics": {Scope.READ}}
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {"keys.toml": 0o600, "admin.key": 0o600, "metrics.key": 0o640}
    service = serve(engine_class=ECHO, api_keys_file=tmp_path / "keys.toml")
    for key, path in ((admin, "/models"), (metrics, "/metrics")):
        assert service.client.get(path, headers={"authorization": f"Bearer {key}"}).status_code == 200


def test_secrets_are_mounted_where_the_settings_expect_them(tmp_path: Path) -> None:
    """With both files of secrets, the service has its keys and its licence as secrets, and is otherwise the same."""
    keys, licence = tmp_path / "keys.toml", tmp_path / "Aspose.OCR.lic"
    variables = {"KEYS_FILE": str(keys), "LICENCE_FILE": str(licence)}
    plain = resolved("compose.yaml")["services"]["ocr"]
    merged = resolved("compose.yaml", "compose.secrets.yaml", "compose.licence.yaml", **variables)
    service = merged["services"]["ocr"]

    assert {name: secret["file"] for name, secret in merged["secrets"].items()} == {
        "ocr-keys": str(keys),
        "ocr-licence": str(licence),
    }
    assert service["environment"] == plain["environment"] | {
        "OCR_API_KEYS_FILE": "/run/secrets/ocr-keys",
        "OCR_LICENSE_FILE": "/run/secrets/ocr-licence",
    }
    assert {name.removeprefix(ENV_PREFIX).lower() for name in service["environment"]} <= set(Settings.model_fields)
    assert service["secrets"] == ["ocr-keys", "ocr-licence"]
    assert {**service, "environment": 0, "secrets": 0} == {**plain, "environment": 0, "secrets": 0}


def test_without_a_profile_only_the_service_runs() -> None:
    """Prometheus and Grafana are part of the profile `monitoring`, nginx of `proxy`; their images can be chosen."""
    services = yaml.safe_load(COMPOSE.read_text())["services"]

    assert {name for name, service in services.items() if not service.get("profiles")} == {"ocr"}
    assert {name for name, service in services.items() if service.get("profiles") == ["monitoring"]} == {
        "prometheus",
        "grafana",
    }
    assert [name for name, service in services.items() if service.get("profiles") == ["proxy"]] == ["proxy"]
    for service in services.values():
        assert any(service["image"].startswith(f"${{{variable}:-") for variable in IMAGES)
        assert service["cap_drop"] == ["ALL"]
        assert service["mem_limit"]


@pytest.mark.parametrize("name", ["compose.secrets.yaml", "compose.licence.yaml"])
def test_the_files_of_secrets_are_valid(name: str) -> None:
    """Each file of secrets is valid by the Compose schema."""
    checker = Path(sys.executable).parent / "check-jsonschema"
    command: list[str | Path] = [checker, "--builtin-schema", "vendor.compose-spec", DEPLOY / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_monitoring_is_wired() -> None:
    """Prometheus scrapes the service with the key of the first start; Grafana has that Prometheus and the dashboard."""
    services = resolved("compose.yaml", profile="monitoring")["services"]
    mounts = {name: dict(volume.split(":")[1::-1] for volume in services[name]["volumes"]) for name in services}
    scrape = yaml.safe_load((DEPLOY / "prometheus" / "compose.yaml").read_text())
    (job,) = scrape["scrape_configs"]

    assert job["static_configs"] == [{"targets": ["ocr:8000"]}]
    assert job["authorization"]["credentials_file"] == "/data/metrics.key"
    assert mounts["prometheus"]["/data"] == mounts["ocr"]["/data"]
    assert scrape["rule_files"] == ["alerts.yaml"]
    assert (DEPLOY / mounts["prometheus"]["/etc/prometheus/alerts.yaml"]).is_file()
    assert (DEPLOY / mounts["prometheus"]["/etc/prometheus/prometheus.yml"]).read_text().startswith("# The config")

    provisioning = DEPLOY / mounts["grafana"]["/etc/grafana/provisioning"]
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())["datasources"]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "ocr-model-service.yaml").read_text())["providers"]
    dashboard = f"{provider['options']['path']}/dashboard.json"
    assert (source["type"], source["url"]) == ("prometheus", "http://prometheus:9090")
    assert json.loads((DEPLOY / mounts["grafana"][dashboard]).read_text())["uid"] == "ocr-model-service"
    assert services["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"] == dashboard


@pytest.mark.skipif(not are_installed(), reason="nginx is not installed; .ci/run installs it")
def test_the_proxy_is_the_sample_with_the_address_of_the_service(tmp_path: Path) -> None:
    """nginx accepts what the proxy's command makes of the sample: only the addresses of the replicas differ."""
    resolved_file = resolved("compose.yaml", profile="proxy")
    proxy, service = (resolved_file["services"][name] for name in ("proxy", "ocr"))
    (mount,) = [volume.split(":") for volume in proxy["volumes"]]
    shell, options, script = proxy["command"]
    made = tmp_path / "nginx.conf"
    written = script.split(">")[1].split()[0]
    script, _, started = script.replace(written, str(made)).partition("exec ")
    script = script.replace(mount[1], str(DEPLOY / mount[0]))
    subprocess.run([shell, options, script], check=True, timeout=120)

    sample = (DEPLOY / "proxy" / "nginx.conf").read_text()
    assert made.read_text() == sample.replace("127.0.0.1:8001", "ocr:8000").replace("127.0.0.1:8002", "ocr:8000")
    assert started.strip() == f"nginx -c {made} -g 'daemon off;'"
    placed = made.read_text().replace("ocr:8000", "127.0.0.1:8000").replace("/var/log/nginx", str(tmp_path))
    made.write_text(placed.replace("/run/nginx.pid", str(tmp_path / "pid")).replace("user www-data;", ""))
    command = [program("nginx"), "-t", "-e", "stderr", "-c", str(made)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr

    address = proxy["networks"]["default"]["ipv4_address"]
    (network,) = resolved_file["networks"]["default"]["ipam"]["config"]
    assert service["environment"]["OCR_TRUSTED_PROXIES"] == address
    fixed = {ip_address(each["networks"]["default"]["ipv4_address"]) for each in (proxy, service)}
    assert len(fixed) == 2
    assert all(each in ip_network(network["subnet"]) for each in fixed)
    assert not [each for each in fixed if each in ip_network(network["ip_range"])]
    assert proxy["read_only"]
    assert proxy["user"] != "0:0"


@pytest.mark.skipif(not Path("/usr/bin/promtool").exists(), reason="promtool is not installed")
def test_prometheus_accepts_its_configuration(tmp_path: Path) -> None:
    """promtool accepts the configuration of Prometheus and its alerts."""
    text = (DEPLOY / "prometheus" / "compose.yaml").read_text()
    (tmp_path / "metrics.key").write_text("ocr_key")
    (tmp_path / "prometheus.yaml").write_text(text.replace("/data/", f"{tmp_path}/"))
    (tmp_path / "alerts.yaml").write_bytes((DEPLOY / "prometheus" / "alerts.yaml").read_bytes())
    done = subprocess.run(
        ["/usr/bin/promtool", "check", "config", tmp_path / "prometheus.yaml"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_a_file_of_the_site_adds_settings_and_changes_limits(tmp_path: Path) -> None:
    """The example of docs/container.md keeps what deploy/compose.yaml has, adds a setting and raises the limit."""
    page = (ROOT / "docs" / "container.md").read_text()
    site = tmp_path / "compose.site.yaml"
    site.write_text(page.partition("```yaml\n")[2].partition("```")[0])
    service = resolved("compose.yaml", str(site))["services"]["ocr"]
    plain = resolved("compose.yaml")["services"]["ocr"]
    assert service["environment"] == plain["environment"] | {"OCR_TRASH_RETENTION": "7d"}
    assert (plain["mem_limit"], service["mem_limit"]) == ("4g", "8g")
    changed = {"environment", "mem_limit"}
    assert {name: value for name, value in service.items() if name not in changed} == {
        name: value for name, value in plain.items() if name not in changed
    }
