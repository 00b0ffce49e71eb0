"""`GET /metrics`: counters, gauges, formats and alerts."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics_families
from prometheus_client.parser import text_string_to_metric_families

from app.engine.contract.processors import DEFAULT_MODEL
from tests.conftest import Serve
from tests.support.files.model_files import NO_TENSORS
from tests.support.processes import free_port
from tests.support.service import ECHO, ROOT, RunningService
from tests.support.waiting import eventually

ACTIONS = ("uploaded", "trashed", "restored", "deleted", "purged", "pulled")
ALERTS = ROOT / "deploy" / "prometheus"
GAUGES_OF_THE_FOLDER = {
    "ocr_store_models",
    "ocr_store_bytes",
    "ocr_store_free_bytes",
    "ocr_store_disk_bytes",
    "ocr_store_writable",
    "ocr_store_damaged_records",
    "ocr_volume_check",
    "ocr_volume_check_required",
    "ocr_units_waiting",
    "ocr_units_oldest_seconds",
}


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[RunningService]:
    """A service of its own, which has counted nothing yet, with one model."""
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / "a.bin").write_bytes(b"12345")
    with RunningService(tmp_path, engine_class=ECHO) as running:
        yield running.wait_until_ready()


def scrape(service: RunningService) -> dict[str, Metric]:
    return {family.name: family for family in text_string_to_metric_families(service.client.get("/metrics").text)}


def value(service: RunningService, name: str, **labels: str) -> float | None:
    """Return the value of one sample; None if there is no such sample."""
    samples = [sample for family in scrape(service).values() for sample in family.samples]
    return next((each.value for each in samples if each.name == name and each.labels == labels), None)


def test_requests_are_counted_by_route_and_never_by_path(counting: RunningService) -> None:
    """Requests are counted by route, so any number of model names makes one series."""
    for name in ("a.bin", "b.bin", "c.bin"):
        counting.client.get(f"/models/{name}")
    counting.client.get("/no/such/route")
    counting.client.request("PROPFIND", "/models")

    route = "/models/{name:path}"
    assert value(counting, "ocr_http_requests_total", method="GET", route=route, status="200") == 1
    assert value(counting, "ocr_http_requests_total", method="GET", route=route, status="404") == 2
    assert value(counting, "ocr_http_request_seconds_count", method="GET", route=route) == 3
    assert value(counting, "ocr_http_requests_total", method="GET", route="none", status="404") == 1
    labels = {each.labels.get("method") for each in scrape(counting)["ocr_http_requests"].samples if each.value}
    assert labels == {"GET", "other"}


def test_alerts_have_their_series_from_the_start(counting: RunningService) -> None:
    """What the alerts count exists with the value 0 before it first happens: Prometheus sees no increase otherwise."""
    document = counting.client.get("/docs/openapi.json").json()["paths"]
    routes = [
        (method.upper(), path) for path, methods in document.items() for method in methods if method != "parameters"
    ]
    errors = {
        (each.labels["method"], each.labels["route"].replace(":path", "")): each.value
        for each in scrape(counting)["ocr_http_requests"].samples
        if each.name == "ocr_http_requests_total" and each.labels["status"] == "500"
    }
    assert len(routes) > 40
    assert {route: errors.get(route) for route in routes} == dict.fromkeys(routes, 0)
    assert errors["GET", "none"] == 0
    for cause in ("fault", "memory", "ordered"):
        assert value(counting, "ocr_engine_exits_total", cause=cause) == 0


def test_changes_are_counted_with_their_bytes(counting: RunningService) -> None:
    """Uploads, deletions, restores and purges are counted with their bytes."""
    client = counting.client
    client.put("/models/b.bin", content=b"1234567").raise_for_status()
    trash_id = client.delete("/models/a.bin").raise_for_status().json()["trash_id"]
    client.post(f"/trash/{trash_id}/restore").raise_for_status()
    client.delete("/models/b.bin", params={"permanent": True}).raise_for_status()

    counted = {action: value(counting, "ocr_store_changed_bytes_total", action=action) for action in ACTIONS}
    assert counted == {"uploaded": 7, "trashed": 5, "restored": 5, "deleted": 7, "purged": 0, "pulled": 0}
    assert value(counting, "ocr_store_changes_total", action="deleted") == 1
    assert "model.deleted" in counting.log


def test_the_store_and_the_engine_are_as_they_are_now(counting: RunningService) -> None:
    """The gauges of the store and the engine are read when they are requested."""
    pid = counting.engine()["pid"]
    assert value(counting, "ocr_store_models") == 1
    assert value(counting, "ocr_store_bytes", kind="models") == 5
    assert value(counting, "ocr_engine_state", state="ready") == 1
    assert (value(counting, "ocr_engine_memory_bytes", kind="private") or 0) > 1e6

    (counting.models_dir / "b.bin").write_bytes(b"123")
    counting.client.post("/engine/release").raise_for_status()

    eventually(lambda: value(counting, "ocr_store_bytes", kind="models") == 8)
    eventually(lambda: counting.engine()["pid"] not in {None, pid})
    assert value(counting, "ocr_engine_exits_total", cause="ordered") == 1


def test_the_licence_the_queue_and_the_sweeps(serve: Serve, tmp_path: Path) -> None:
    """Metrics show evaluation mode, a refused licence, the places and the longest wait of the queue, and sweeps."""
    (tmp_path / "wrong.lic").write_text("no license")
    service = serve(engine_class=ECHO, license_file=tmp_path / "wrong.lic", license_required=False).wait_until_ready()

    assert value(service, "ocr_engine_licensed") == 0
    assert value(service, "ocr_engine_license_refused") == 1
    assert value(service, "ocr_engine_queue_places") == 7
    assert value(service, "ocr_engine_longest_wait_seconds") == 0
    assert (value(service, "ocr_sweep_timestamp_seconds") or 0) > 1e9


@pytest.mark.parametrize("is_single", [False, True])
def test_checks_of_the_volume_that_changes_need(serve: Serve, *, is_single: bool) -> None:
    """Each check says whether changes are refused if it fails; for a service alone on its folder they are fewer."""
    service = serve(engine_class=ECHO, single_service=is_single).wait_until_ready()

    assert value(service, "ocr_volume_check", check="file-numbers") == 1
    required = {name: value(service, "ocr_volume_check_required", check=name) for name in ("locks", "file-numbers")}
    assert required == {"locks": 1, "file-numbers": not is_single}
    assert value(service, "ocr_volume_check_required", check="fsync") == 0


def test_calls_loads_and_releases_of_the_engine(counting: RunningService) -> None:
    """Engine calls are counted by processor and outcome, loads by processor, and releases with their bytes."""
    (counting.models_dir / DEFAULT_MODEL).parent.mkdir(parents=True)
    (counting.models_dir / DEFAULT_MODEL).write_bytes(NO_TENSORS)
    texts = {"texts": ["a", "fail:too odd", "b"]}
    counting.client.post("/ai/spell-check", json=texts).raise_for_status()
    counting.client.post("/engine/release").raise_for_status()

    def calls(work: str, outcome: str) -> float | None:
        return value(counting, "ocr_engine_call_seconds_count", work=work, outcome=outcome)

    assert (calls("load", "ok"), calls("spell-check", "ok"), calls("spell-check", "failed")) == (1, 2, 1)
    assert value(counting, "ocr_engine_loads_total", processor="spell-check") == 1
    assert value(counting, "ocr_engine_releases_total") == 1
    assert (value(counting, "ocr_engine_released_bytes_total") or 0) > 1e6


def test_a_missing_model_folder_has_no_sizes(counting: RunningService) -> None:
    """If the model folder is missing, `ocr_store_available` is 0 and the folder has no other gauges, not even a 0.

    An autoscaler would take 0 waiting files for an empty queue.
    """
    assert {name for name, family in scrape(counting).items() if family.samples} >= GAUGES_OF_THE_FOLDER

    counting.models_dir.rename(counting.models_dir.with_name("away"))

    eventually(lambda: value(counting, "ocr_store_available") == 0)
    of_folder = {family.name for family in scrape(counting).values() if family.samples and family.type == "gauge"}
    assert of_folder & GAUGES_OF_THE_FOLDER == set()
    assert "ocr_units_running" in of_folder


def test_openmetrics_is_sent_if_accepted(service: RunningService) -> None:
    """A request that accepts OpenMetrics gets OpenMetrics."""
    answer = service.client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})

    assert answer.headers["content-type"].startswith("application/openmetrics-text; version=1.0.0")
    assert "ocr_store_models" in {family.name for family in openmetrics_families(answer.text)}


@pytest.mark.parametrize("version", ["new", "1.x", ""])
def test_an_invalid_openmetrics_version_gets_plain_text(service: RunningService, version: str) -> None:
    """A request for an unknown version of OpenMetrics gets Prometheus' text format."""
    answer = service.client.get("/metrics", headers={"accept": f"application/openmetrics-text; version={version}"})

    assert (answer.status_code, answer.headers["content-type"].partition(";")[0]) == (200, "text/plain")


@pytest.mark.slow
def test_promtool_finds_nothing_to_criticise(service: RunningService) -> None:
    """`promtool check metrics` accepts the names, units and help texts."""
    checked = subprocess.run(
        ["promtool", "check", "metrics"],
        input=service.client.get("/metrics").content,
        capture_output=True,
        check=False,
    )

    assert (checked.returncode, checked.stdout + checked.stderr) == (0, b"")


@pytest.mark.slow
def test_a_real_prometheus_scrapes_it_and_knows_the_alerts(counting: RunningService, tmp_path: Path) -> None:
    """A real Prometheus with the configuration in deploy/ scrapes the service and loads the alerts."""
    folder = tmp_path / "prometheus"
    shutil.copytree(ALERTS, folder)
    config = folder / "prometheus.yaml"
    text = config.read_text().replace("127.0.0.1:8000", counting.url.removeprefix("http://")).replace("15s", "1s")
    config.write_text(text)
    port = free_port()
    command = [
        "prometheus",
        f"--config.file={config}",
        f"--storage.tsdb.path={tmp_path / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as prometheus:
        try:
            eventually(lambda: query(port, "ocr_store_models") == "1", within=90)
            eventually(lambda: healthy_rules(port) >= {"OcrStoreUnavailable", "OcrEngineNotReady"}, within=90)
        finally:
            prometheus.terminate()


@pytest.mark.slow
def test_each_alert_fires_when_it_should_and_not_otherwise() -> None:
    """`promtool test rules` passes for deploy/prometheus/alerts_test.yaml."""
    subprocess.run(["promtool", "test", "rules", ALERTS / "alerts_test.yaml"], check=True)


def healthy_rules(port: int) -> set[str]:
    groups = httpx.get(f"http://127.0.0.1:{port}/api/v1/rules", timeout=60).json()["data"]["groups"]
    return {rule["name"] for group in groups for rule in group["rules"] if rule["health"] == "ok"}


def query(port: int, expression: str) -> Any:
    """Return the value of an expression; None if it has none, or if Prometheus is still starting."""
    try:
        answer = httpx.get(f"http://127.0.0.1:{port}/api/v1/query", params={"query": expression}, timeout=60)
    except httpx.ConnectError:
        return None
    if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
        return None
    found = answer.raise_for_status().json()["data"]["result"]
    return next((each["value"][1] for each in found), None)
