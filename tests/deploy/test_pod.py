"""The pod of deploy/kubernetes starts with its security context, volumes, settings and limit, and reads a page."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from app.engine.process.memory_limits import share_of_container
from tests.deploy.files import KUBERNETES, image_environment, of_kind
from tests.support.deployed import kubectl, pods
from tests.support.files.pictures import encoded, page
from tests.support.fork_server import run_command
from tests.support.processes import free_port
from tests.support.skips import ELSEWHERE
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason=f"{ELSEWHERE}a container with another user needs root"),
]

COMMAND = ["python", "-m", "app", "serve"]
"""The command of the image."""
Manifests = list[Any]


@dataclass(frozen=True)
class Served:
    """The service in the pod."""

    pod: pods.Pod
    client: httpx.Client
    spec: Any
    """The specification of the pod."""
    volumes: dict[str, Path]

    def status(self, probe: str) -> int:
        """Return the status that a probe of the pod would get, or 0 if the service does not answer."""
        try:
            return self.client.get(self.spec["containers"][0][probe]["httpGet"]["path"]).status_code
        except httpx.TransportError:
            return 0


@pytest.fixture(scope="module")
def manifests() -> Manifests:
    """Return the manifests of the overlay for one pod."""
    return kubectl.build(KUBERNETES / "single")


@pytest.fixture(scope="module")
def volumes(tmp_path_factory: pytest.TempPathFactory, manifests: Manifests) -> dict[str, Path]:
    """Return the folders of the pod's volumes, with the owners and rights that the kubelet gives them by `fsGroup`."""
    spec = of_kind("Deployment", manifests)["spec"]["template"]["spec"]
    group = spec["securityContext"]["fsGroup"]
    folders = {volume["name"]: tmp_path_factory.mktemp(volume["name"]) for volume in spec["volumes"]}
    for folder in folders.values():
        os.chown(folder, 0, group)
        folder.chmod(0o2775)
    return folders


@pytest.fixture(scope="module")
def key(volumes: dict[str, Path], manifests: Manifests) -> str:
    """Put a file of keys into the secret's volume, with the mode of the manifest, and return its key."""
    spec = of_kind("Deployment", manifests)["spec"]["template"]["spec"]
    (secret,) = [volume["secret"] for volume in spec["volumes"] if volume["name"] == "api-keys"]
    file = volumes["api-keys"] / "keys.toml"
    scopes = [word for scope in ("read", "write", "ai") for word in ("--scope", scope)]
    made = run_command(["keys", "create", "me", *scopes, "--file", str(file)], os.environ)
    assert made.returncode == 0, made.stderr
    os.chown(file, 0, spec["securityContext"]["fsGroup"])
    file.chmod(secret["defaultMode"])
    return made.stdout.strip()


@pytest.fixture(scope="module")
def served(
    manifests: Manifests, volumes: dict[str, Path], key: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """Run the pod on a free port of loopback until the end of the module. The last test ends it."""
    deployment = of_kind("Deployment", manifests)
    port = free_port()
    # A long drain, so that a busy machine sees it; the last test ends it by a second signal.
    ours = {"OCR_HOST": "127.0.0.1", "OCR_PORT": str(port), "OCR_DRAIN_TIME": "10m", "HOME": "/"}
    environment = image_environment() | of_kind("ConfigMap", manifests)["data"] | ours
    environment["PATH"] = environment["PATH"].replace("$PATH", "/usr/bin:/bin")
    folder = tmp_path_factory.mktemp("pod")
    headers = {"Authorization": f"Bearer {key}"}
    with (
        pods.running(deployment, environment, volumes, COMMAND, folder) as pod,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", headers=headers, timeout=300) as client,
    ):
        yield Served(pod, client, deployment["spec"]["template"]["spec"], volumes)


def test_the_probes_succeed(served: Served) -> None:
    """Each probe of the pod gets 200: the keys are readable, the volumes writable, and the real engine starts."""

    def succeeds(probe: str) -> bool:
        assert served.pod.process.poll() is None, served.pod.log
        return served.status(probe) == 200

    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        eventually(lambda probe=probe: succeeds(probe), within=60)
    checks = served.client.get("/readyz?verbose").json()["checks"]
    assert [check for check in checks if not check["ok"]] == [], served.pod.log


def test_the_kernel_applies_the_security_context(served: Served) -> None:
    """The processes have the pod's user, its seccomp profile, no capability, and cannot gain rights."""
    wanted = served.spec["securityContext"]
    service = psutil.Process(served.pod.pid)
    family = [service, *service.children(recursive=True)]
    assert len(family) > 1
    for process in family:
        status = dict(
            line.split(":\t", 1)
            for line in Path(f"/proc/{process.pid}/status").read_text().splitlines()
            if ":\t" in line
        )
        assert set(status["Uid"].split()) == {str(wanted["runAsUser"])}
        assert status["Groups"].split() == [str(wanted["fsGroup"])]
        assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
    root = next(
        line for line in Path(f"/proc/{service.pid}/mountinfo").read_text().splitlines() if line.split()[4] == "/"
    )
    assert root.split()[5].split(",")[0] == "ro"


def test_the_engine_s_limit_follows_the_memory_limit(served: Served) -> None:
    """The engine may hold its share of the pod's memory limit."""
    limit = served.spec["containers"][0]["resources"]["limits"]["memory"]
    engine = served.client.get("/engine").raise_for_status().json()
    assert engine["memory_limit_bytes"] == share_of_container(pods.memory_bytes(limit))


@pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1")
def test_a_page_is_read_and_a_model_kept(served: Served) -> None:
    """The engine reads a page under the seccomp profile, and a model that is uploaded is on the volume."""
    picture = encoded("image/png", page("The harbour was quiet", "when the first boats", "came home from the storm"))
    read = served.client.post("/ocr", content=picture, headers={"Content-Type": "image/png"})
    assert read.status_code == 200, read.text + served.pod.log
    assert read.json()["pages"][0]["text"].startswith("The harbour")

    stored = served.client.put("/models/new.bin", content=b"a model", headers={"If-None-Match": "*"})
    assert stored.status_code == 201, stored.text
    assert (served.volumes["data"] / "models" / "new.bin").read_bytes() == b"a model"


def test_sigterm_drains_and_ends_the_pod(served: Served) -> None:
    """After SIGTERM the pod is alive and not ready. After the drain, which a second signal ends, its status is 0."""
    os.kill(served.pod.pid, signal.SIGTERM)
    eventually(lambda: served.status("readinessProbe") == 503, within=30)
    assert served.status("livenessProbe") == 200
    os.kill(served.pod.pid, signal.SIGTERM)
    assert served.pod.process.wait(timeout=120) == 0, served.pod.log
    assert list((served.volumes["state"]).glob("engine-*")) == []
