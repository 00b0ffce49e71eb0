"""The Prometheus Operator's kinds: valid by models of its definitions, and the alerts are those of Prometheus.

Kubernetes's own schemas do not have these kinds. The models are made from the definitions of version 0.80.1 and come
from PyPI. No operator runs here.
"""

import copy
import importlib
import runpy
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.files import KUBERNETES, of_kind, read
from tests.support.deployed import kubectl
from tests.support.service import ROOT

ALERTS = ROOT / "deploy" / "prometheus" / "alerts.yaml"
MONITORING = KUBERNETES / "components" / "monitoring"
KINDS = ("ServiceMonitor", "PrometheusRule")


def validated(manifest: Any) -> None:
    """Raise an error unless each field is known and has a value of its type.

    The models ignore unknown fields, so a field that is lost on the way through a model is unknown.
    """
    models = importlib.import_module("cloudcoil.models.prometheus_operator.v1")  # two seconds, only in slow tests
    model = getattr(models, manifest["kind"]).model_validate(manifest)
    assert model.model_dump(mode="json", by_alias=True, exclude_unset=True) == manifest


@pytest.fixture(scope="module")
def built() -> list[Any]:
    """Return the manifests of example-site, which has the component `monitoring`."""
    return kubectl.build(KUBERNETES / "example-site")


def test_the_rule_has_the_alerts_of_prometheus() -> None:
    """The PrometheusRule is what deploy/make_prometheusrule.py makes of deploy/prometheus/alerts.yaml."""
    made = runpy.run_path(str(ROOT / "deploy" / "make_prometheusrule.py"))["manifest"](ALERTS.read_text())
    rule = MONITORING / "prometheusrule.yaml"
    assert rule.read_text() == made, "run: python deploy/make_prometheusrule.py"
    assert read(rule)["spec"] == read(ALERTS)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_the_operator_s_definitions_know_every_field(built: list[Any], kind: str) -> None:
    """The manifest, as kubectl builds it, has only fields of the definition, with values of their types."""
    validated(of_kind(kind, built))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "field"),
    [("ServiceMonitor", "endpoints"), ("PrometheusRule", "groups")],
)
def test_a_misspelled_field_and_a_wrong_value_are_found(built: list[Any], kind: str, field: str) -> None:
    """The check above fails if a manifest has an unknown field, or a value of another type."""
    manifest = copy.deepcopy(of_kind(kind, built))
    manifest["spec"][field][0]["intervall"] = "15s"
    with pytest.raises(AssertionError):
        validated(manifest)
    del manifest["spec"][field][0]["intervall"]
    validated(manifest)
    manifest["spec"][field] = "none"
    with pytest.raises(ValueError, match=field):
        validated(manifest)


@pytest.mark.slow
def test_promtool_accepts_the_rule_and_refuses_a_defect(built: list[Any], tmp_path: Path) -> None:
    """`promtool check rules` accepts the alerts that the operator would give Prometheus; not with one defect more."""
    spec = of_kind("PrometheusRule", built)["spec"]
    file = tmp_path / "rules.yaml"
    file.write_text(yaml.safe_dump(spec))
    good = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert good.returncode == 0, good.stdout + good.stderr
    assert f"{len(spec['groups'][0]['rules'])} rules found" in good.stdout
    file.write_text(yaml.safe_dump(spec).replace("ocr_store_available == 0", "ocr_store_available = 0"))
    bad = subprocess.run(["promtool", "check", "rules", file], capture_output=True, text=True, check=False)
    assert bad.returncode != 0
    assert "OcrStoreUnavailable" in bad.stdout + bad.stderr
