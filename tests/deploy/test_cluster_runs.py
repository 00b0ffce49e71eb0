"""The services of deploy/compose.cluster.yaml run and read a batch: PostgreSQL, three services with AsposeAI, HAProxy.

Each is a container of crun with what the file says. Docker and the images of PostgreSQL and HAProxy are not here:
Debian's programs run in their place, and a script does what the entry point of PostgreSQL's image does with its
variables.
"""

import json
import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.deploy.files import image_environment, instructions
from tests.deploy.test_compose import DEPLOY, resolved
from tests.support.deployed.composed import Image, Project
from tests.support.deployed.networks import Network
from tests.support.deployed.postgres import INSTALLED, is_installed
from tests.support.deployed.proxies import are_installed
from tests.support.files.pictures import encoded, page
from tests.support.skips import ELSEWHERE
from tests.support.supervised import NATIVE
from tests.support.waiting import eventually

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(os.geteuid() != 0, reason=f"{ELSEWHERE}containers with other users need root"),
    pytest.mark.skipif(not (are_installed() and is_installed()), reason="haproxy or postgresql is not installed"),
    pytest.mark.skipif(not NATIVE.is_dir(), reason="`python -m app provision` could not bring OpenSSL 1.1"),
]

SERVICES = ["ocr-1", "ocr-2", "ocr-3"]
KILLED = "ocr-2"
DATABASE, CALLER = "172.30.84.128", "172.30.84.100"
"""Addresses of which the file says nothing."""
DATA = "/var/lib/postgresql/data"
START_POSTGRES = """
if [ ! -e "$PGDATA/PG_VERSION" ]; then
    initdb -D "$PGDATA" --username="$POSTGRES_USER" --pwfile="$POSTGRES_PASSWORD_FILE" --auth=scram-sha-256 --no-sync
    echo 'host all all all scram-sha-256' >>"$PGDATA/pg_hba.conf"
    echo "CREATE DATABASE $POSTGRES_DB" | postgres --single -D "$PGDATA" postgres
fi
exec postgres -D "$PGDATA" -c 'listen_addresses=*' -c dynamic_shared_memory_type=mmap
"""
WORDS = [
    *("market", "garden", "letter", "window", "bridge", "summer", "winter", "forest", "river", "tower"),
    *("kitten", "silver", "coffee", "butter", "doctor", "farmer", "paper", "table", "water", "stone"),
    *("horse", "ocean", "cloud", "train", "violin", "lemon", "pencil", "candle", "island", "rabbit"),
]


@pytest.fixture
def network() -> Iterator[Network]:
    """Return a network for the containers and the caller."""
    with Network() as made:
        yield made


@pytest.fixture
def cluster(tmp_path: Path, network: Network) -> Iterator[Project]:
    """Make the password and the volumes as the head of the file says, and start everything in its order."""
    secret, folders = tmp_path / "jobs-password", (tmp_path / "data", tmp_path / "database")
    secret.write_text("0123456789abcdef0123456789abcdef0123456789abcdef\n")
    for folder in folders:
        folder.mkdir()
    for path, owner, mode in zip((secret, *folders), (10001, 10001, 999), (0o440, 0o755, 0o700), strict=True):
        shutil.chown(path, owner, owner)
        path.chmod(mode)
    compose = resolved("compose.cluster.yaml", JOBS_PASSWORD_FILE=str(secret))
    with Project(compose, DEPLOY, tmp_path, network, images(), database=DATABASE) as project:
        project.start_all()
        yield project


def images() -> dict[str, Image]:
    """Return what the Dockerfile says, and what those of the images of PostgreSQL and HAProxy say."""
    variables = image_environment()
    (stop_signal,), (check,) = instructions("STOPSIGNAL"), instructions("HEALTHCHECK")
    ours = Image(
        signal.Signals[stop_signal],
        variables | {"PATH": variables["PATH"].replace("$PATH", "/usr/bin:/bin")},
        user=instructions("USER")[-1],
        folder=instructions("WORKDIR")[-1],
        health_check=json.loads(check.partition(" CMD ")[2]),
    )
    newest = max(INSTALLED.glob("*/bin"), key=lambda path: float(path.parent.name))
    path = {"PATH": f"{newest}:/usr/sbin:/usr/bin:/sbin:/bin"}
    return dict.fromkeys(SERVICES, ours) | {
        "database": Image(signal.SIGINT, path | {"PGDATA": DATA}, command=["sh", "-euc", START_POSTGRES]),
        "proxy": Image(signal.SIGUSR1, path),
    }


def test_a_batch_outlives_a_service(cluster: Project, network: Network, tmp_path: Path) -> None:
    """Each file of a batch has its result, though a service is killed at its work; then all containers end cleanly."""
    headers = {"authorization": f"Bearer {(tmp_path / 'data' / 'admin.key').read_text().strip()}"}
    url = f"http://{cluster.address('proxy')}:8080"
    with network.threads(CALLER) as thread, httpx.Client(base_url=url, headers=headers, timeout=120) as client:
        thread.submit(check_batch, client, cluster).result()
    cluster.stop_all()


def check_batch(client: httpx.Client, cluster: Project) -> None:
    """Send a batch, kill a service while it reads a file, and start the service again at once, as Docker does."""
    idle = [(name, list[str]()) for name in SERVICES]
    eventually(lambda: is_answering(client), within=60)
    eventually(lambda: works(client) == idle)
    eventually(lambda: answering(client) == {*SERVICES})
    eventually(lambda: checks_by_name(client)["queue"])
    files = [("file", (f"{word}.png", picture(word), "image/png")) for word in WORDS]
    sent = client.post("/ocr/jobs", files=files).raise_for_status()
    job, path = sent.json()["id"], sent.headers["location"]

    eventually(lambda: all(job in jobs for _, jobs in works(client)), within=60)
    os.kill(cluster.running[KILLED].pid, signal.SIGKILL)
    assert cluster.running[KILLED].process.wait(timeout=60) == 128 + signal.SIGKILL
    assert client.get(path).json()["state"] == "running"
    cluster.start(KILLED)
    cluster.wait_until_healthy(KILLED)

    ended = eventually(lambda: now if (now := finished_or_latest(client, path))["finished_at"] else None, within=120)
    assert ended["state"] == "succeeded", ended
    results = client.get(f"{path}/results").raise_for_status().json()["results"]
    texts = [each["recognition"]["pages"][0]["text"] for each in sorted(results, key=lambda each: each["index"])]
    assert [word for word, text in zip(WORDS, texts, strict=True) if not text.lower().startswith(word)] == [], texts
    eventually(lambda: works(client) == idle)


def is_answering(client: httpx.Client) -> bool:
    """Return True if the proxy takes connections and has found a service that answers."""
    try:
        return client.get("/engines").is_success
    except httpx.TransportError:
        return False


def finished_or_latest(client: httpx.Client, path: str) -> Any:
    """Return the job at its end, or as it is after 10 seconds."""
    return client.get(path, params={"wait": 10}).raise_for_status().json()


def works(client: httpx.Client) -> list[tuple[str, list[str]]]:
    """Return the name of each living service's container, and the jobs that it works at."""
    engines = client.get("/engines").raise_for_status().json()["engines"]
    return sorted((each["host"], [work["job_id"] for work in each["works"]]) for each in engines)


def answering(client: httpx.Client) -> set[str]:
    """Return the names of the containers that answer requests to the proxy."""
    answers = [client.get("/models").raise_for_status() for _ in range(2 * len(SERVICES))]
    return {answer.headers["x-served-by"].removesuffix("-8000") for answer in answers}


def checks_by_name(client: httpx.Client) -> dict[str, bool]:
    """Return which checks of a service succeed."""
    return {each["name"]: each["ok"] for each in client.get("/readyz?verbose").json()["checks"]}


def picture(word: str) -> bytes:
    """Return a page that begins with a word. Without a licence the engine returns only the beginning of the text."""
    return encoded("image/png", page(f"{word} was seen", "at home today", points=24))
