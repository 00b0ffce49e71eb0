"""The dashboard and the alerts use only metrics that the service exports."""

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from app.main import create_app
from app.settings import Settings
from tests.conftest import Serve
from tests.support.service import ECHO, ROOT

DASHBOARD = ROOT / "deploy" / "grafana" / "dashboard.json"
RUNBOOKS = ROOT / "docs" / "runbooks.md"
ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
PARTS = ("_bucket", "_sum", "_count", "_total")


@pytest.fixture
def exported(serve: Serve) -> dict[str, set[str]]:
    """Return the labels of each metric of a real scrape."""
    service = serve(engine_class=ECHO).wait_until_ready()
    service.client.get("/models")
    families = text_string_to_metric_families(service.client.get("/metrics").text)
    return {family.name: {label for sample in family.samples for label in sample.labels} for family in families}


def queried() -> Iterator[tuple[str, set[str]]]:
    """Yield each metric of the dashboard and the alerts, with the labels that select it."""
    for text in (DASHBOARD.read_text().replace('\\"', '"'), ALERTS.read_text()):
        for name, labels in re.findall(r"\b(ocr_[a-z_]+)(?:\{([^}]*)\})?", text):
            yield name, set(re.findall(r"(\w+)!?=", labels)) - {"instance"}


def test_every_metric_is_exported(exported: dict[str, set[str]]) -> None:
    """The service exports every metric and label of the dashboard and the alerts."""
    names = dict(queried())

    assert len(names) > 10
    for name, labels in queried():
        family = next((name.removesuffix(part) for part in PARTS if name.removesuffix(part) in exported), name)
        assert family in exported, name
        assert labels <= exported[family] or not exported[family], name


def alerts() -> list[dict[str, Any]]:
    """Return every alert."""
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def test_each_alert_has_its_runbook() -> None:
    """Each alert has a severity and names its section of docs/runbooks.md, which has a section for each alert only."""
    sections = dict(re.findall(r"^## (\w+)\n\n`(page|ticket)`", RUNBOOKS.read_text(), re.MULTILINE))

    assert {each["alert"]: each["labels"]["severity"] for each in alerts()} == sections
    for each in alerts():
        assert each["annotations"]["runbook"] == f"docs/runbooks.md#{each['alert'].lower()}"
        assert each["annotations"].keys() == {"summary", "description", "runbook"}


def test_the_runbooks_name_what_exists() -> None:
    """The links between pages of the runbooks have their headings, and each path of a curl is a route."""
    text = RUNBOOKS.read_text()
    for page, anchor in re.findall(r"\]\(([\w.]*)#([\w-]+)\)", text):
        target = (RUNBOOKS.parent / page).read_text() if page else text
        headings = re.findall(r"^#+ (.*)$", target, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", each).lower().replace(" ", "-") for each in headings}, (page, anchor)
    paths = set(create_app(Settings()).openapi()["paths"])
    called = re.findall(r"curl\s[^`]*?\$URL(/[\w/]+)", text)
    assert len(called) > 8
    assert set(called) <= paths


def test_each_alert_fires_in_the_tests() -> None:
    """deploy/prometheus/alerts_test.yaml expects each alert."""
    expected = set(re.findall(r'alertname="(\w+)"', ALERTS.with_name("alerts_test.yaml").read_text()))

    assert {each["alert"] for each in alerts()} <= expected


def test_the_panels_do_not_overlap() -> None:
    """The dashboard's panels have unique titles and ids, fit the page and do not overlap."""
    dashboard = json.loads(DASHBOARD.read_text())
    panels = dashboard["panels"]
    cells: set[tuple[int, int]] = set()

    assert len({panel["id"] for panel in panels}) == len({panel["title"] for panel in panels}) == len(panels)
    for place in (panel["gridPos"] for panel in panels):
        assert place["x"] + place["w"] <= 24
        own = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not own & cells
        cells |= own
