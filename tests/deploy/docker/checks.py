"""What is checked of the image under Docker, in order. Each function returns rows of the table."""

import json
import random
import time
from pathlib import Path
from typing import Any

from tests.deploy.docker.daemon import CHECKOUT, Docker
from tests.deploy.docker.debian import ARCHIVE
from tests.support.service import ROOT
from tests.support.waiting import eventually

IMAGE = "ocr-model-service"
GIB = 1 << 30
COMPOSE = ("docker", "compose", "-f", "deploy/compose.yaml")
SERVICE = "ocr-ocr-1"
"""The name that Compose gives to the container of deploy/compose.yaml."""
MODEL = "kept_v1.bin"
SMALL = "small"
SMALL_PORT = 8001
GRACE_SECONDS = 30
RESTRICTED = ("--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
SETTINGS = ("--env", "OCR_ALLOW_ANONYMOUS=true", "--env", "OCR_RECOGNITION_TIMEOUT=1h")
Rows = dict[str, str]


def load_image(docker: Docker) -> Rows:
    """Load the archive, and check what Docker reads of the image."""
    began = time.monotonic()
    docker.run("docker", "load", "--input", CHECKOUT / ARCHIVE.relative_to(ROOT))
    config = json.loads(docker.run("docker", "image", "inspect", IMAGE))[0]["Config"]
    assert config["Healthcheck"]["Test"] == ["CMD", "python", "-m", "app", "healthcheck"]
    assert (config["User"], config["StopSignal"], list(config["Volumes"])) == ("10001:10001", "SIGTERM", ["/data"])
    versions = json.loads(docker.run("docker", "version", "--format", "json"))["Server"]
    info = json.loads(docker.run("docker", "info", "--format", "json"))
    return {
        "Docker, Compose": f"{versions['Version']}, {docker.run('docker', 'compose', 'version', '--short')}",
        "control groups, storage": f"version {info['CgroupVersion']}, {info['Driver']}",
        "`docker load`": seconds_since(began),
    }


def start_with_compose(docker: Docker) -> Rows:
    """Run README's two commands and use the key, as on this machine's own loopback."""
    began = time.monotonic()
    docker.run(*COMPOSE, "up", "--detach", "--wait")
    took = seconds_since(began)
    key = docker.run(*COMPOSE, "exec", "-T", "ocr", "cat", "/data/admin.key")
    refused, _ = docker.ask("/models")
    status, answer = docker.ask("/models", "-H", f"Authorization: Bearer {key}")
    assert (refused, status, answer["count"]) == (401, 200, 0), (refused, status, answer)

    made = docker.inspect(SERVICE)
    host = made["HostConfig"]
    assert made["State"]["Health"]["Status"] == "healthy", made["State"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["PidsLimit"]) == (True, ["ALL"], 200), host
    assert (host["Memory"], host["RestartPolicy"]["Name"]) == (4 * GIB, "unless-stopped"), host
    assert host["PortBindings"] == {"8000/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8000"}]}, host
    limit = docker.ask("/engine", "-H", f"Authorization: Bearer {key}")[1]["memory_limit_bytes"]
    assert limit == 4 * GIB * 7 // 8, limit
    docker.wait_until_ready(SERVICE, 8000)
    assert processes(docker, SERVICE) == {(10001, 10001, "0" * 16)}
    return {"`docker compose up --wait` until the container is healthy": took}


def restart_after_a_crash(docker: Docker) -> Rows:
    """Kill the service's process as a crash would, and check that Docker starts it again with its models and keys."""
    key = docker.run(*COMPOSE, "exec", "-T", "ocr", "cat", "/data/admin.key")
    docker.run(*COMPOSE, "cp", "docs/sample-page.png", f"ocr:/data/models/{MODEL}")
    listed = docker.run(*COMPOSE, "exec", "-T", "ocr", "ocr-models", "models", "list")
    assert MODEL in listed, listed
    docker.run("kill", "-KILL", docker.inspect(SERVICE)["State"]["Pid"])
    eventually(lambda: docker.inspect(SERVICE)["RestartCount"] == 1, within=GRACE_SECONDS)
    docker.wait_until_healthy(SERVICE)
    status, answer = docker.ask("/models", "-H", f"Authorization: Bearer {key}")
    assert (status, answer["count"]) == (200, 1), (status, answer)
    return {"its process is killed": "Docker starts it again; it is healthy, with its models and keys"}


def stop_and_start(docker: Docker) -> Rows:
    """Stop the service; its end has status 0, and the next container on the volume has the models and keys."""
    key = docker.run(*COMPOSE, "exec", "-T", "ocr", "cat", "/data/admin.key")
    began = time.monotonic()
    docker.run("docker", "stop", SERVICE)
    took = seconds_since(began)
    state = docker.inspect(SERVICE)["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 0), state
    docker.run(*COMPOSE, "down")
    docker.run(*COMPOSE, "up", "--detach", "--wait")
    status, answer = docker.ask("/models", "-H", f"Authorization: Bearer {key}")
    assert (status, answer["count"]) == (200, 1), (status, answer)
    status, answer = docker.ask(f"/models/{MODEL}", "-X", "DELETE", "-H", f"Authorization: Bearer {key}")
    assert status == 200, answer  # its owner is root, as `docker compose cp` makes it
    docker.run(*COMPOSE, "down", "--volumes")
    return {"`docker stop`": f"status 0 after {took}; a new container has the models and keys"}


def run_as_any_user(docker: Docker, pages: Path) -> Rows:
    """Run a container of 1 GiB as a user without a name, on a new volume; it refuses a page that is too large."""
    user = random.SystemRandom().randrange(100_000, 1 << 30)
    start_small(docker, "1g", "--user", user, "--volume", "small:/data")
    assert processes(docker, SMALL) == {(user, 0, "0" * 16)}
    limit = docker.ask("/engine", port=SMALL_PORT)[1]["memory_limit_bytes"]
    assert limit == GIB - GIB // 4, limit
    began = time.monotonic()
    expect_out_of_memory(*recognise(docker, pages / "large.png"))
    rows = {"A4 at 600 dpi with 1 GiB": f"507 `engine-out-of-memory` after {seconds_since(began)}"}
    assert oom_kills(docker, SMALL) == 0, "the service ends the engine before the kernel kills it"
    docker.wait_until_ready(SMALL, SMALL_PORT)
    assert docker.inspect(SMALL)["RestartCount"] == 0
    status, answer = recognise(docker, pages / "small.png")
    assert status == 200, answer
    assert answer["text"].strip(), answer
    rows["a small page afterwards"] = "recognised"
    docker.run("docker", "rm", "--force", SMALL)
    docker.run("docker", "volume", "rm", "small")
    return rows


def outlive_the_oom_killer(docker: Docker, pages: Path) -> Rows:
    """Without the service's own limit the kernel kills the engine: the call is answered 507, the service goes on."""
    start_small(docker, "512m", "--env", "OCR_ENGINE_MEMORY_LIMIT=0")
    service = docker.inspect(SMALL)["State"]["Pid"]
    expect_out_of_memory(*recognise(docker, pages / "large.png"))
    assert oom_kills(docker, SMALL) > 0, "the kernel has killed the engine"
    docker.wait_until_ready(SMALL, SMALL_PORT)
    state = docker.inspect(SMALL)["State"]
    assert (state["Status"], state["Pid"]) == ("running", service), state
    docker.wait_until_healthy(SMALL)
    docker.run("docker", "rm", "--force", "--volumes", SMALL)
    return {"the kernel kills the engine for lack of memory": "507 `engine-out-of-memory`; the service goes on"}


def start_small(docker: Docker, memory: str, *options: object) -> None:
    """Start a container with this limit of memory and no swap, and wait until it is ready."""
    limits = ("--memory", memory, "--memory-swap", memory, "--publish", f"127.0.0.1:{SMALL_PORT}:8000")
    docker.run("docker", "run", "--detach", "--name", SMALL, *RESTRICTED, *SETTINGS, *limits, *options, IMAGE)
    docker.wait_until_ready(SMALL, SMALL_PORT)


def expect_out_of_memory(status: int, answer: Any) -> None:
    """Check that an answer is the problem about lack of memory."""
    assert status == 507, (status, answer)
    assert answer["type"] == "urn:ocr-model-service:problem:engine-out-of-memory", answer


def recognise(docker: Docker, page: Path) -> tuple[int, Any]:
    """Send a page to /ocr; return the status and the answer."""
    body = ("-H", "Content-Type: image/png", "--data-binary", f"@{CHECKOUT / page.relative_to(ROOT)}")
    return docker.ask("/ocr", *body, port=SMALL_PORT)


def processes(docker: Docker, container: str) -> set[tuple[int, int, str]]:
    """Return the user, the group and the capabilities of the processes of a container, which are at least two."""
    found = set()
    lines = docker.run("docker", "top", container, "-eo", "pid").splitlines()[1:]
    assert len(lines) >= 2, lines
    for pid in lines:
        status = docker.run("sh", "-c", f"cat /proc/{pid.strip()}/status || true")  # a health check may have ended
        values = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        if "CapBnd" not in values:
            continue
        found.add((int(values["Uid"].split()[0]), int(values["Gid"].split()[0]), values["CapBnd"]))
    return found


def oom_kills(docker: Docker, container: str) -> int:
    """Return how many processes of a container the kernel has killed for lack of memory, by control groups 1 or 2."""
    find = "cat /sys/fs/cgroup/memory.events || cat /sys/fs/cgroup/memory/memory.oom_control"
    lines = docker.run("docker", "exec", container, "sh", "-c", find).splitlines()
    (count,) = [line.split()[1] for line in lines if line.startswith("oom_kill ")]
    return int(count)


def seconds_since(began: float) -> str:
    """Return the time since `began` for the table."""
    return f"{time.monotonic() - began:.0f} s"
