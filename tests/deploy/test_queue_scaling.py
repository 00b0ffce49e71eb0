"""The queries of the ScaledObject, asked of a real Prometheus that scrapes three real services on one folder.

KEDA does not run here. It asks Prometheus the same way and divides the answer by the threshold.
"""

import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
import yaml

from tests.conftest import Serve
from tests.deploy.files import KUBERNETES, read
from tests.support.processes import free_port
from tests.support.service import RunningService
from tests.support.waiting import eventually

PROMETHEUS = Path("/usr/bin/prometheus")
COMPONENTS = KUBERNETES / "components"
UNITS, CALLS = 7, 5
RUNNING = 'ocr_units_running{kind="images"} '

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not PROMETHEUS.exists(), reason="prometheus is not installed; .ci/run installs it"),
]


@contextmanager
def prometheus(folder: Path, services: list[RunningService]) -> Iterator[Callable[[str], float | None]]:
    """Run Prometheus, and give a function that asks a query, as KEDA does, and returns the only value.

    The operator adds the label `namespace`, and applies the relabelings of the ServiceMonitor.
    """
    (endpoint,) = read(COMPONENTS / "monitoring" / "servicemonitor.yaml")["spec"]["endpoints"]
    rules = [
        {"target_label": each["targetLabel"], "replacement": each["replacement"]} for each in endpoint["relabelings"]
    ]
    targets = [service.url.removeprefix("http://").rstrip("/") for service in services]
    scraped = {
        "job_name": "ocr/ocr/0",
        "metrics_path": endpoint["path"],
        "static_configs": [{"targets": targets, "labels": {"namespace": "ocr"}}],
        "relabel_configs": rules,
    }
    config = folder / "prometheus.yaml"
    config.write_text(yaml.safe_dump({"global": {"scrape_interval": "1s"}, "scrape_configs": [scraped]}))
    port = free_port()
    options = [f"--web.listen-address=127.0.0.1:{port}", f"--storage.tsdb.path={folder / 'data'}"]
    command: list[str | Path] = [PROMETHEUS, f"--config.file={config}", *options]
    with (
        (folder / "prometheus.log").open("wb") as log,
        subprocess.Popen(command, stdout=log, stderr=log) as process,
        httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):

        def is_ready() -> bool:
            """Say whether Prometheus answers queries; while it reads its own log at its start it answers 503."""
            assert process.poll() is None, (folder / "prometheus.log").read_text()
            try:
                return client.get("/-/ready").is_success
            except httpx.TransportError:
                return False

        def ask(query: str) -> float | None:
            found = client.get("/api/v1/query", params={"query": query}).raise_for_status().json()
            values = found["data"]["result"]
            assert len(values) <= 1, values  # KEDA refuses several
            return float(values[0]["value"][1]) if values else None

        try:
            eventually(is_ready, within=60)
            yield ask
        finally:
            process.terminate()


def test_the_queries_count_each_unit_and_each_call_once(serve: Serve, tmp_path: Path) -> None:
    """Of a job of seven files on three services the query says 7, of calls that wait 2, 2 and 1 it says 5; then 0."""
    triggers = read(COMPONENTS / "queue-scaling" / "scaledobject.yaml")["spec"]["triggers"]
    queries = {each["name"]: each["metadata"]["query"] for each in triggers}
    services = [
        serve(tmp_path / name, models_dir=tmp_path / "models", engine_class="tests.support.engines:Reads")
        for name in "abc"
    ]
    for service in services:
        service.wait_until_ready()
    go = tmp_path / "go"
    image, headers = f"wait_for {go}".encode(), {"content-type": "image/png"}
    files = [("file", (f"{number}.png", image, "image/png")) for number in range(UNITS)]

    with prometheus(tmp_path, services) as ask, ThreadPoolExecutor(CALLS) as threads:
        try:
            eventually(lambda: ask(queries["units"]) == 0, within=60)
            job = services[0].client.post("/ocr/jobs", files=files).raise_for_status().headers["location"]
            eventually(lambda: all(files_in_work(each) == 1 for each in services), within=60)
            callers = [
                threads.submit(service.client.post, "/ocr", content=image, headers=headers)
                for service, count in zip(services, (2, 2, 1), strict=True)
                for _ in range(count)
            ]
            eventually(lambda: ask(queries["requests"]) == CALLS, within=60)
            # At each question one of the scrapes may have failed, which may take a second.
            eventually(lambda: ask(queries["units"]) == UNITS, within=60)
        finally:
            go.touch()
        assert {caller.result().status_code for caller in callers} == {200}
        eventually(lambda: services[1].client.get(job).json()["state"] == "succeeded", within=60)
        eventually(lambda: [ask(query) for query in queries.values()] == [0, 0], within=60)


def files_in_work(service: RunningService) -> float:
    """Return how many files of jobs a service works on."""
    (line,) = [line for line in service.client.get("/metrics").text.splitlines() if line.startswith(RUNNING)]
    return float(line.split()[1])
