"""The Compose file with three services, PostgreSQL and HAProxy, as an implementation of Compose reads it.

Docker is not here. The commands run on this machine, with the real PostgreSQL and HAProxy; `test_cluster_runs` runs
containers.
"""

import os
import stat
import subprocess
import sys
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any

import pytest
import yaml

from app.settings import ENV_PREFIX
from tests.conftest import Serve
from tests.deploy.files import image_environment, settings_from
from tests.deploy.test_compose import DEPLOY, resolved
from tests.support.deployed.postgres import Postgres
from tests.support.deployed.proxies import are_installed, program
from tests.support.service import ECHO, ROOT
from tests.support.waiting import eventually

FILE = "compose.cluster.yaml"
NAMES = ("ocr-1", "ocr-2", "ocr-3")
START = "exec python -m app serve\n"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    """Return the file as Compose reads it, with every variable unset."""
    return resolved(FILE)


def test_compose_knows_every_field() -> None:
    """The file is valid by the Compose schema."""
    command: list[str | Path] = [Path(sys.executable).parent / "check-jsonschema", "--builtin-schema"]
    done = subprocess.run([*command, "vendor.compose-spec", DEPLOY / FILE], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_services_differ_in_names_addresses_and_state_alone(compose: dict[str, Any]) -> None:
    """Three services have the same settings, which the service accepts, and a state folder each."""
    services = {name: compose["services"][name] for name in NAMES}
    own = ("hostname", "environment", "networks", "depends_on", "build")
    alike = [{key: value for key, value in each.items() if key not in own} for each in services.values()]
    assert alike[0] == alike[1] == alike[2]
    assert {name: each["hostname"] for name, each in services.items()} == {name: name for name in NAMES}
    assert len({each["environment"]["OCR_STATE_DIR"] for each in services.values()}) == len(NAMES)


def test_the_service_accepts_the_settings(compose: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """The settings are valid, and a container has more time to stop than a service takes."""
    service = compose["services"]["ocr-1"]
    settings = settings_from(image_environment() | service["environment"], monkeypatch)
    grace = int(service["stop_grace_period"].removesuffix("s"))
    assert settings.drain_time
    assert grace > (settings.drain_time + settings.shutdown_grace).total_seconds()
    assert settings.state_dir.is_relative_to("/data")
    assert settings.api_keys_file


def test_every_container_is_restricted(compose: dict[str, Any]) -> None:
    """Each container is read-only, without capabilities, with limits; only the proxy publishes a port, on loopback."""
    for name, service in compose["services"].items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["mem_limit"], name
        assert service["pids_limit"], name
        ports = service.get("ports", [])
        assert ports == (["127.0.0.1:8080:8080"] if name == "proxy" else []), name
    assert compose["services"]["database"]["image"].rpartition(":")[2].count(".") == 1  # an exact version


def test_the_password_is_in_a_file_alone(compose: dict[str, Any]) -> None:
    """The database and the services read the password from the secret, and no variable has it."""
    path = "/run/secrets/jobs-password"
    (secret,) = compose["secrets"]
    assert path == f"/run/secrets/{secret}"
    users = {name for name, service in compose["services"].items() if service.get("secrets") == [secret]}
    assert users == {*NAMES, "database"}
    database = compose["services"]["database"]
    assert database["environment"]["POSTGRES_PASSWORD_FILE"] == path
    assert not [name for name in NAMES if "OCR_JOBS_URL" in compose["services"][name]["environment"]]


def test_the_services_start_after_what_they_need(compose: dict[str, Any]) -> None:
    """The first service waits for the database, and the others for the first, which makes the keys."""
    waits = {name: set(service.get("depends_on", ())) for name, service in compose["services"].items()}
    assert waits == {
        "database": set(),
        "ocr-1": {"database"},
        "ocr-2": {"ocr-1"},
        "ocr-3": {"ocr-1"},
        "proxy": {"ocr-1"},
    }
    assert compose["services"]["database"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]


def test_the_addresses_are_those_that_the_settings_name(compose: dict[str, Any]) -> None:
    """The fixed addresses differ, are in the subnet and outside the range of the others; the proxy's is trusted."""
    services = compose["services"]
    (network,) = compose["networks"]["default"]["ipam"]["config"]
    fixed = {name: services[name]["networks"]["default"]["ipv4_address"] for name in (*NAMES, "proxy")}
    assert len(set(fixed.values())) == len(fixed)
    for each in map(ip_address, fixed.values()):
        assert each in ip_network(network["subnet"])
        assert each not in ip_network(network["ip_range"])
    assert {services[name]["environment"]["OCR_TRUSTED_PROXIES"] for name in NAMES} == {fixed["proxy"]}


@pytest.mark.skipif(not are_installed(), reason="haproxy is not installed; .ci/run installs it")
def test_the_proxy_is_the_sample_with_three_services(compose: dict[str, Any], tmp_path: Path) -> None:
    """HAProxy accepts what the proxy's command makes of the sample: each service twice, once as a backup."""
    proxy = compose["services"]["proxy"]
    (mount,) = [volume.split(":") for volume in proxy["volumes"]]
    shell, options, script = proxy["command"]
    script, _, started = script.partition("exec ")
    made = tmp_path / "haproxy.cfg"
    script = script.replace("/tmp/haproxy.cfg", str(made)).replace(mount[1], str(DEPLOY / mount[0]))  # noqa: S108
    subprocess.run([shell, options, script], check=True, timeout=120)

    assert started.split() == ["haproxy", "-W", "-db", "-f", "/tmp/haproxy.cfg"]  # noqa: S108
    lines = [line.split() for line in made.read_text().splitlines() if line.strip().startswith("server ")]
    addresses = [f"{compose['services'][name]['networks']['default']['ipv4_address']}:8000" for name in NAMES]
    assert sorted(line[2] for line in lines) == sorted(addresses * 2)
    assert len({line[1] for line in lines}) == len(lines)
    assert [line[3:] for line in lines].count(["backup"]) == len(NAMES)
    sample = (DEPLOY / "proxy" / "haproxy.cfg").read_text().splitlines()
    others = [line for line in made.read_text().splitlines() if not line.strip().startswith("server ")]
    assert others == [line for line in sample if not line.strip().startswith("server ")]
    done = subprocess.run([program("haproxy"), "-c", "-f", made], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
def test_the_command_starts_a_service_on_the_database(
    compose: dict[str, Any], tmp_path: Path, serve: Serve, shared_postgres: Postgres
) -> None:
    """What the command makes of the password is a URL by which the service reaches its queue; the keys are private."""
    shell, options, script = compose["services"]["ocr-1"]["command"]
    assert script.endswith(START)
    secret = tmp_path / "jobs-password"
    secret.write_text("0123456789abcdef\n")
    script = script.replace("/data/", f"{tmp_path}/").replace("/run/secrets/jobs-password", str(secret))
    script = script.replace(START, 'printf %s "$OCR_JOBS_URL"')
    clean = {name: value for name, value in os.environ.items() if not name.startswith(ENV_PREFIX)}
    variables = {"OCR_API_KEYS_FILE": str(tmp_path / "keys.toml")}
    path = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(
        [shell, options, script], cwd=ROOT, env=clean | variables | path, capture_output=True, text=True, check=True
    )
    assert done.stdout == "postgresql://ocr:0123456789abcdef@database:5432/ocr"
    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("keys.toml", "admin.key")}
    assert modes == {0o600}

    shared_postgres.run("CREATE ROLE ocr LOGIN")
    try:
        shared_postgres.run("CREATE DATABASE ocr OWNER ocr")
        url = done.stdout.replace("database:5432", f"127.0.0.1:{shared_postgres.port}")
        service = serve(engine_class=ECHO, api_keys_file=tmp_path / "keys.toml", jobs_url=url).wait_until_ready()
        headers = {"authorization": f"Bearer {(tmp_path / 'admin.key').read_text().strip()}"}

        def queue_is_ok() -> bool:
            checks = service.client.get("/readyz?verbose", headers=headers).json()["checks"]
            return any(check["name"] == "queue" and check["ok"] for check in checks)

        eventually(queue_is_ok, within=60)
        service.stop()
    finally:
        shared_postgres.run("DROP DATABASE IF EXISTS ocr WITH (FORCE)")
        shared_postgres.run("DROP ROLE ocr")


def test_only_the_first_service_builds_the_image() -> None:
    """One service has `build`, so that the image is built once; each image can be chosen by a variable."""
    services = yaml.safe_load((DEPLOY / FILE).read_text())["services"]
    assert [name for name, service in services.items() if "build" in service] == ["ocr-1"]
    assert all(service["image"].startswith("${") for service in services.values())
